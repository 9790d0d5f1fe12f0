// Attention by cuDNN's fused kernels, for 16-bit types with all tokens as queries. Queries, keys and values are views
// of qkv with strides, and so are their gradients. cuDNN's statistics are lse.
#include "engine/cuda/library/attention_cudnn.h"

#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "engine/cuda/library/cudnn.h"
#include "engine/cuda/library/state.h"

namespace coss::cuda {
namespace {

namespace fe = cudnn_frontend;
using Attributes = fe::graph::Tensor_attributes;
using TensorPointer = std::shared_ptr<Attributes>;

// Up to this version the frontend copies lengths from the host in each call where the keys are no multiple of 128.
constexpr size_t kCopiesLengths = 91500;

enum Slot : int64_t { kQ = 1, kK, kV, kY, kLse, kDy, kDq, kDk, kDv };

// Gradients in a fixed order of additions need workspace for a head's matrix of probabilities, rounded up to tiles.
// Where that is more than this, and more than four times the activations, the own kernels are used.
int64_t max_workspace(const AttentionShape& s) {
  return std::max(int64_t(1) << 30, 4 * s.images * s.tokens * 3 * s.width() * int64_t(size_of(s.dtype)));
}

bool taken(const AttentionShape& s) {
  return s.dtype != DType::f32 && s.queries == s.tokens && s.channels % 8 == 0 && s.channels <= 128;
}

// The fused kernels read 16 bytes at a time.
bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

std::string first_line(const std::string& text) { return text.substr(0, std::min(text.find('\n'), size_t(300))); }

class Plan final : public AttentionPlan {
 public:
  explicit Plan(const AttentionShape& shape) : shape_(shape) {
    graph_.set_io_data_type(shape.dtype == DType::bf16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::HALF);
    graph_.set_intermediate_data_type(fe::DataType_t::FLOAT).set_compute_data_type(fe::DataType_t::FLOAT);
    // Recorded steps outlive no plan: plans live as long as the library handle.
    graph_.set_cuda_graph_retention(fe::CudaGraphRetention_t::NONE);
  }

  bool prepare(const ConvGraph::Target& target, bool backward, bool build, std::string& problem) {
    graph_.set_sm_version(target.sm_version);  // the frontend would ask a CUDA runtime of its own
    if (backward)
      describe_backward();
    else
      describe_forward();
    if (!target.handle) {
      auto device = std::make_shared<fe::DeviceProperties>();
      if (!good(device->deserialize({target.device_json.begin(), target.device_json.end()}), problem)) return false;
      graph_.set_device_properties(device);
    }
    graph_.deselect_workspace_greater_than(max_workspace(shape_));
    graph_.deselect_numeric_notes({fe::NumericalNote_t::NONDETERMINISTIC});
    if (!good(graph_.validate(), problem)) return false;
    if (!good(target.handle ? graph_.build_operation_graph(target.handle) : graph_.build_operation_graph(), problem))
      return false;
    if (!good(graph_.create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK}), problem)) return false;
    if (!good(graph_.check_support(), problem)) return false;
    if (!build) return true;
    for (index_ = 0; index_ < graph_.get_execution_plan_count(); ++index_)
      if (good(graph_.build_plan_at_index(index_), problem)) return true;
    return false;
  }

  size_t workspace() const override {
    int64_t bytes = 0;
    auto status = graph_.get_workspace_size_plan_at_index(index_, bytes);
    COSS_CHECK(status.is_good(), "[attention] cuDNN: " + first_line(status.get_message()));
    return size_t(std::max<int64_t>(0, bytes));
  }

  void execute(cudnnContext* handle, const AttentionPointers& pointers, void* memory) const override {
    const size_t part = size_t(shape_.width()) * size_of(shape_.dtype);
    auto split = [&](std::unordered_map<int64_t, void*>& map, void* base, int64_t first) {
      for (int64_t i = 0; i < 3; ++i) map[first + i] = static_cast<char*>(base) + size_t(i) * part;
    };
    std::unordered_map<int64_t, void*> map{{kY, pointers.y}, {kLse, pointers.lse}};
    split(map, const_cast<void*>(pointers.qkv), kQ);
    if (pointers.dqkv) {
      map[kDy] = const_cast<void*>(pointers.dy);
      split(map, pointers.dqkv, kDq);
    }
    auto status = graph_.execute_plan_at_index(handle, map, memory, index_);
    COSS_CHECK(status.is_good(), "[attention] cuDNN: " + first_line(status.get_message()));
  }

 private:
  static bool good(fe::error_t status, std::string& problem) {
    if (status.is_bad()) problem = first_line(status.get_message());
    return status.is_good();
  }

  // --- tensors: (images, heads, tokens, channels) ---

  Attributes& place(Attributes& tensor, Slot slot, int64_t pitch) const {
    return tensor.set_uid(slot)
        .set_dim({shape_.images, shape_.heads, shape_.tokens, shape_.channels})
        .set_stride({shape_.tokens * pitch, shape_.channels, pitch, 1});
  }
  Attributes& place_lse(Attributes& tensor) const {
    return tensor.set_uid(kLse)
        .set_dim({shape_.images, shape_.heads, shape_.tokens, 1})
        .set_stride({shape_.heads * shape_.tokens, shape_.tokens, 1, 1})
        .set_data_type(fe::DataType_t::FLOAT);
  }
  TensorPointer input(Slot slot, int64_t pitch) {
    Attributes attributes;
    return graph_.tensor(place(attributes, slot, pitch));
  }
  float scale() const { return float(1 / std::sqrt(double(shape_.channels))); }

  void describe_forward() {
    const int64_t pitch = 3 * shape_.width();
    auto attributes = fe::graph::SDPA_attributes().set_generate_stats(true).set_attn_scale(scale());
    auto [y, lse] = graph_.sdpa(input(kQ, pitch), input(kK, pitch), input(kV, pitch), attributes);
    place(y->set_output(true), kY, shape_.width());
    place_lse(lse->set_output(true));
  }

  void describe_backward() {
    const int64_t pitch = 3 * shape_.width();
    Attributes lse;
    auto attributes = fe::graph::SDPA_backward_attributes().set_attn_scale(scale()).set_deterministic_algorithm(true);
    auto [dq, dk, dv] =
        graph_.sdpa_backward(input(kQ, pitch), input(kK, pitch), input(kV, pitch), input(kY, shape_.width()),
                             input(kDy, shape_.width()), graph_.tensor(place_lse(lse)), attributes);
    place(dq->set_output(true), kDq, pitch);
    place(dk->set_output(true), kDk, pitch);
    place(dv->set_output(true), kDv, pitch);
  }

  const AttentionShape shape_;
  fe::graph::Graph graph_;
  int64_t index_ = 0;
};

}  // namespace

std::unique_ptr<AttentionPlan> AttentionPlan::make(const ConvGraph::Target& target, const AttentionShape& shape,
                                                   bool backward, bool build, std::string& problem) {
  open_cudnn();
  if (backward && shape.tokens % 128 != 0 && fe::detail::get_backend_version() <= kCopiesLengths) {
    problem = "this cuDNN cannot run it within a recorded step";
    return nullptr;
  }
  try {
    auto plan = std::make_unique<Plan>(shape);
    if (plan->prepare(target, backward, build, problem)) return plan;
  } catch (const std::exception& error) {
    problem = first_line(error.what());
  }
  return nullptr;
}

const AttentionPlan* AttentionPlans::find(Context& ctx, const AttentionShape& shape, bool backward) {
  const std::array<int64_t, 6> key{shape.images,   shape.tokens,         shape.heads,
                                   shape.channels, int64_t(shape.dtype), backward};
  const auto found = plans_.find(key);
  if (found != plans_.end()) return found->second.get();
  State& state = ctx.state<State>();
  cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
  COSS_CUDA_CHECK(cudaStreamIsCapturing(state.stream(), &capturing));
  COSS_CHECK(capturing == cudaStreamCaptureStatusNone,
             "[attention] a step is being recorded with an attention that has not run before");
  std::string problem;
  const ConvGraph::Target target{.handle = state.cudnn().handle(),
                                 .sm_version = state.device().major * 10 + state.device().minor};
  auto plan = AttentionPlan::make(target, shape, backward, /*build=*/true, problem);
  return plans_.emplace(key, std::move(plan)).first->second.get();
}

bool library_attention_forward(Context& ctx, const AttentionShape& shape, const Tensor& qkv, Tensor& y, Tensor& lse) {
  if (!taken(shape) || !aligned(qkv.raw()) || !aligned(y.raw()) || !aligned(lse.raw())) return false;
  Cudnn& cudnn = ctx.state<State>().cudnn();
  const AttentionPlan* plan = cudnn.attention().find(ctx, shape, /*backward=*/false);
  if (!plan) return false;
  const size_t bytes = plan->workspace();
  void* memory = bytes > 0 ? ctx.workspace(bytes) : nullptr;
  plan->execute(cudnn.handle(), {.qkv = qkv.raw(), .y = y.mutable_raw(), .lse = lse.mutable_raw()}, memory);
  return true;
}

bool library_attention_backward(Context& ctx, const AttentionShape& shape, const Tensor& qkv, const Tensor& y,
                                const Tensor& lse, const Tensor& dy, Tensor& dqkv) {
  if (!taken(shape)) return false;
  for (const void* address : {qkv.raw(), y.raw(), lse.raw(), dy.raw(), static_cast<const Tensor&>(dqkv).raw()})
    if (!aligned(address)) return false;
  Cudnn& cudnn = ctx.state<State>().cudnn();
  const AttentionPlan* plan = cudnn.attention().find(ctx, shape, /*backward=*/true);
  if (!plan) return false;
  const size_t bytes = plan->workspace();
  void* memory = bytes > 0 ? ctx.workspace(bytes) : nullptr;
  plan->execute(cudnn.handle(),
                {.qkv = qkv.raw(),
                 .y = const_cast<void*>(y.raw()),
                 .lse = const_cast<void*>(lse.raw()),
                 .dy = dy.raw(),
                 .dqkv = dqkv.mutable_raw()},
                memory);
  return true;
}

}  // namespace coss::cuda
