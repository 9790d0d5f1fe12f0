// Params: holds every parameter of a run in a few flat buffers; each named parameter is a view.
//
// There are three ranges: `weights` (convolution and linear weights: master values in A, a copy in the compute dtype
// C), `rest` (scale and shift of norms, biases: A only) and `stats` (running means and variances: A, no gradient).
// engine/kernels.def defines A and C. Optimizers, averages, gradient norm and checkpoints work on whole ranges.
#pragma once
#include <string>
#include <vector>

#include "autograd/autograd.h"

namespace coss {

// A tensor that a resumed run needs besides the parameters, and its name in the checkpoint.
struct StateTensor {
  std::string name;
  Tensor tensor;
};

// The shape of a parameter in PyTorch's files.
enum class FileLayout : uint8_t {
  plain,       // the same as here
  conv,        // here (K,R,S,C), there (K,C,R,S)
  depthwise,   // here (R,S,C), there (C,1,R,S)
  pointwise,   // here (O,I), there (O,I,1,1): a linear layer that files store as a 1x1 convolution
  leading,     // there with ones in front, up to three dimensions
  transposed,  // here (O,I), there (I,O)
};

// Initial values of a parameter. Philox draws them by the seed and the parameter's number, so they do not depend on the
// device.
struct Init {
  enum Kind : uint8_t {
    constant,   // a
    normal,     // mean a, standard deviation b
    uniform,    // from [a, b)
    positions,  // sines and cosines of the row and the column of each token of a square image (MoCo v3), zeros for a
                // class token in front
  } kind = constant;
  float a = 0, b = 0;
  static Init zeros() { return {constant, 0, 0}; }
  static Init ones() { return {constant, 1, 0}; }
  static Init kaiming_normal(int64_t fan);      // stddev sqrt(2 / fan)
  static Init kaiming_uniform(int64_t fan_in);  // PyTorch's default for Linear: U(+-1/sqrt(fan_in))
};

struct FlatRange {
  Tensor value;                  // master, A
  Tensor grad;                   // A; empty when the parameters are frozen
  Tensor compute;                // the copy in C; the same tensor as `value` when C is A
  std::vector<int64_t> offsets;  // where each parameter begins, multiples of 16; the last one is the total
};

class Params {
 public:
  enum class Role : uint8_t { weight, rest, stat };
  struct Entry {
    std::string name;  // PyTorch's, with the scope in front: "student.layer1.0.conv1.weight"
    Shape shape;       // engine layout
    FileLayout layout;
    Role role;
    Init init;
    int64_t offset = 0;        // in its range
    Var* var = nullptr;        // for weight and rest: receives the view that layers compute with, and its gradient
    Tensor* master = nullptr;  // for weight, optional: receives the view of the master values
    Tensor* stat = nullptr;    // for stat: receives the view
  };

  // Layers register the parameters that they need. allocate() writes to the targets, so layers must not move before.
  void add_weight(std::string name, Shape shape, FileLayout layout, Init init, Var* target, Tensor* master = nullptr);
  void add_rest(std::string name, Shape shape, Init init, Var* target, FileLayout layout = FileLayout::plain);
  void add_stat(std::string name, Shape shape, Init init, Tensor* target);

  // Makes the buffers and the initial values; called once. Frozen parameters (a teacher's) have no gradients. Throws
  // Error when two parameters have one name.
  void allocate(Device device, DType compute, uint64_t seed, bool frozen = false);

  const std::vector<Entry>& entries() const { return entries_; }
  FlatRange& weights() { return weights_; }
  FlatRange& rest() { return rest_; }
  Tensor& stats() { return stats_; }
  DType compute_dtype() const { return compute_; }
  Device device() const { return device_; }
  bool allocated() const { return allocated_; }
  uint64_t seed() const { return seed_; }  // the seed given to allocate(); dropout draws from it as well
  int64_t count() const;                   // how many trainable numbers there are

  // A view of the master values of one entry, or of its values in `stats`.
  Tensor master(const Entry& entry) const;
  // Renews the compute copy. Call this after writing master values, for instance from a file.
  void refresh_compute();
  // Gives the tensors new versions, so that layers renew what they have computed from them (folded weights). Call this
  // after a replayed step: it changes values on the device and leaves the versions as they were.
  void renew_versions();
  // How many batches have been computed in train mode (PyTorch's num_batches_tracked). The trainer counts them.
  int64_t batches_tracked = 0;

 private:
  void add(Entry entry);

  std::vector<Entry> entries_;
  FlatRange weights_, rest_;
  Tensor stats_;
  DType compute_ = DType::f32;
  Device device_ = Device::cpu;
  uint64_t seed_ = 0;
  bool allocated_ = false;
};

// A prefix of names: parameters registered in scope / "layer1" / "0" are named "layer1.0.…".
class Scope {
 public:
  explicit Scope(Params& params, std::string prefix = "") : params_(&params), prefix_(std::move(prefix)) {}
  Scope operator/(const std::string& part) const { return Scope(*params_, name(part)); }
  std::string name(const std::string& leaf) const { return prefix_.empty() ? leaf : prefix_ + "." + leaf; }
  Params& params() const { return *params_; }

 private:
  Params* params_;
  std::string prefix_;
};

}  // namespace coss
