// The only place that knows oneDNN's interface, version 2.6 or 3.x: prepared primitives, the plans cached by shape, and
// the weights kept in oneDNN's own layouts.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

#include "engine/context.h"
#include "engine/kernel_params.h"
#include "engine/tensor.h"

namespace coss::cpu {

using Desc = dnnl::memory::desc;
using Dims = dnnl::memory::dims;

const dnnl::engine& dnnl_engine();
dnnl::memory::data_type dnnl_type(DType dtype);
// Attributes of every primitive here: scratch memory comes from the Context. Post-ops are added to `post`.
dnnl::primitive_attr dnnl_attributes(const dnnl::post_ops& post = {});
void append_activation(dnnl::post_ops& post, Activation activation);

// A primitive with its arguments laid out once: a call sets pointers and allocates nothing.
class Primitive {
 public:
  Primitive() = default;
  template <class PrimitiveDesc>
  explicit Primitive(const PrimitiveDesc& desc)
      : primitive_(desc.get()), scratch_bytes_(desc.scratchpad_desc().get_size()) {
    add(DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc());
  }

  Primitive& add(int argument, const Desc& desc);
  Primitive& set(int argument, const void* pointer);
  size_t scratch_bytes() const { return scratch_bytes_; }
  void run(void* scratch);
  explicit operator bool() const { return !arguments_.empty(); }

 private:
  dnnl::primitive primitive_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
  size_t scratch_bytes_ = 0;
};

// The memory descriptions of one convolution; an empty `bias` means none. `avoid_brgconv` asks for oneDNN's older
// generated kernels where there are any: its batch-reduce kernels, the first choice, are slower for few channels.
struct ConvDescs {
  Desc x, w, bias, y;
  Dims stride, dilation, pad_before, pad_behind;
  bool avoid_brgconv = false;
};

dnnl::convolution_forward::primitive_desc conv_forward_desc(const ConvDescs& descs, bool inference,
                                                            const dnnl::primitive_attr& attributes);
dnnl::convolution_backward_data::primitive_desc conv_dgrad_desc(const ConvDescs& descs);
dnnl::convolution_backward_weights::primitive_desc conv_wgrad_desc(const ConvDescs& descs);
dnnl::matmul::primitive_desc matmul_desc(const Desc& a, const Desc& b, const Desc& bias, const Desc& y,
                                         const dnnl::primitive_attr& attributes);
// y = beta * y + x, between layouts and types.
dnnl::reorder::primitive_desc reorder_desc(const Desc& x, const Desc& y, float beta);

// Weights in the layouts that oneDNN chose, reordered once per version of the tensor. Least recently used entries go
// when the cache exceeds its bounds, so weights that no longer exist do not stay forever.
class WeightCache {
 public:
  // An index for a pair of layouts; kSame when they are equal and nothing is reordered.
  static constexpr int kSame = -1;
  int conversion(const Desc& from, const Desc& to);
  const void* get(Context& ctx, const Tensor& w, int conversion);
  // bf16 weights as fp32, in the same layout; converted once per version, too.
  Tensor widened(Context& ctx, const Tensor& w);
  int64_t reorders() const { return reorders_; }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kMaxBytes = size_t(1) << 30, kMaxEntries = 4096;
  struct Conversion {
    Desc from, to;
    Primitive reorder;
  };
  struct Key {
    const void* pointer;
    int64_t conversion;  // negative for entries of widened(), and unique to a size
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };
  struct Entry {
    uint64_t version = 0, used = 0;
    Tensor reordered;
  };
  // The entry of the key, made when there is none. Its `version` is that of the weights from which its tensor was made.
  Entry& entry_for(const Key& key, const Shape& shape, DType dtype);
  void evict(size_t incoming);

  std::vector<Conversion> conversions_;
  std::unordered_map<Key, Entry, KeyHash> entries_;
  uint64_t clock_ = 0;
  size_t bytes_ = 0;
  int64_t reorders_ = 0;
};

// What a call needs besides its pointers. Only wgrad has `finish` and `finish_bytes`: its result, in oneDNN's layout,
// takes `finish_bytes` of workspace and is added to the caller's tensor from there.
struct Plan {
  Primitive primitive, finish;
  int conversion = WeightCache::kSame;
  size_t finish_bytes = 0;
};

enum class PlanKind : int64_t { conv_forward, conv_bias_act, conv_dgrad, conv_wgrad, matmul };

// Everything that a plan depends on, as plain numbers.
struct PlanKey {
  std::array<int64_t, 20> values{};
  PlanKey(PlanKind kind, std::initializer_list<int64_t> list);
  bool operator==(const PlanKey&) const = default;
};

class State : public BackendState {
 public:
  // The plan of `key`, made by `make(Plan&)` on first use. Throws Error when the processor cannot run it.
  template <class Make>
  Plan& plan(const PlanKey& key, const char* op, const Make& make) {
    auto found = plans_.find(key);
    if (found != plans_.end()) return *found->second;
    auto fresh = std::make_unique<Plan>();
    try {
      make(*fresh);
    } catch (const dnnl::error& error) {
      refuse(op, error);
    }
    if (plans_.size() >= kMaxPlans) plans_.clear();
    return *plans_.emplace(key, std::move(fresh)).first->second;
  }
  size_t plans() const { return plans_.size(); }
  WeightCache weights;
  std::array<Tensor, 3> wide;  // memory of wide_tensor(), widen.h

 private:
  static constexpr size_t kMaxPlans = 2048;
  struct KeyHash {
    size_t operator()(const PlanKey& key) const;
  };
  [[noreturn]] static void refuse(const char* op, const dnnl::error& error);

  std::unordered_map<PlanKey, std::unique_ptr<Plan>, KeyHash> plans_;
};

}  // namespace coss::cpu
