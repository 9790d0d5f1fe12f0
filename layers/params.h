// Params: every parameter of a run in a few flat buffers, each named parameter a view.
//
// Three ranges: `weights` (convolution and linear weights: master in A, compute copy in the compute dtype), `rest`
// (norm scale and shift, biases: A only) and `stats` (running means and variances: A, no gradient). Optimizers, EMA,
// gradient norm and checkpoints work on whole ranges.
#pragma once
#include <string>
#include <vector>

#include "autograd/autograd.h"

namespace coss {

// What a resumed run needs beside the parameters, by name.
struct StateTensor {
  std::string name;
  Tensor tensor;
};

// How a parameter is laid out in PyTorch's files: plain as here; conv (K,R,S,C) <-> OIHW; depthwise (R,S,C) <->
// (C,1,R,S); pointwise (O,I) <-> (O,I,1,1), a 1x1 convolution that is a linear layer here; leading (…) <->
// (1,…), with ones in front up to three dimensions; transposed (O,I) <-> (I,O).
enum class FileLayout : uint8_t { plain, conv, depthwise, pointwise, leading, transposed };

// Initial values; drawn from Philox by (seed, position), so they do not depend on the device.
struct Init {
  enum Kind : uint8_t { constant, normal, uniform, positions } kind = constant;
  // constant a; normal mean a, stddev b; uniform [a, b); positions: sines and cosines of the row and the column of each
  // token of a square image (MoCo v3), zero for the class token in front.
  float a = 0, b = 0;
  static Init zeros() { return {constant, 0, 0}; }
  static Init ones() { return {constant, 1, 0}; }
  static Init kaiming_normal(int64_t fan);      // stddev sqrt(2 / fan)
  static Init kaiming_uniform(int64_t fan_in);  // PyTorch's default for Linear: U(+-1/sqrt(fan_in))
};

struct FlatRange {
  Tensor value;                  // master, A
  Tensor grad;                   // A; empty when frozen
  Tensor compute;                // C; shares `value` when C == A
  std::vector<int64_t> offsets;  // where each parameter begins, multiples of 16, and the total last
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
    Var* var = nullptr;        // weight and rest
    Tensor* master = nullptr;  // weight: receives a view of the master values, when wanted
    Tensor* stat = nullptr;    // stat
  };

  // Layers register what they need; the targets must stay where they are until allocate(), which fills them.
  void add_weight(std::string name, Shape shape, FileLayout layout, Init init, Var* target, Tensor* master = nullptr);
  void add_rest(std::string name, Shape shape, Init init, Var* target, FileLayout layout = FileLayout::plain);
  void add_stat(std::string name, Shape shape, Init init, Tensor* target);

  // Makes the buffers and the initial values. A frozen set (a teacher) has no gradients.
  void allocate(Device device, DType compute, uint64_t seed, bool frozen = false);

  const std::vector<Entry>& entries() const { return entries_; }
  FlatRange& weights() { return weights_; }
  FlatRange& rest() { return rest_; }
  Tensor& stats() { return stats_; }
  DType compute_dtype() const { return compute_; }
  Device device() const { return device_; }
  bool allocated() const { return allocated_; }
  uint64_t seed() const { return seed_; }  // of allocate(); dropout draws from it too
  int64_t count() const;                   // trainable numbers

  // The master (or stat) values of one entry.
  Tensor master(const Entry& entry) const;
  // Rewrites the compute copy after the master was written from outside (loading a file).
  void refresh_compute();
  // Call it after values were changed without the tensors' knowledge (by a replayed step): what was derived from them
  // is stale.
  void renew_versions();
  // Batches that passed in train mode, PyTorch's num_batches_tracked; kept by whoever trains.
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

// A place in the tree of names: scope / "layer1" / "0" names parameters "layer1.0.…".
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
