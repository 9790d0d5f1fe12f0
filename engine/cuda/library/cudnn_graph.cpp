// Describes convolutions to cudnn-frontend. Dimensions have cuDNN's order, (N,C,H,W) and (K,C,R,S), with the strides of
// NHWC and KRSC. Everything is accumulated in f32.
#include "engine/cuda/library/cudnn_graph.h"

#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

#include <algorithm>

#include "engine/check.h"
#include "engine/cuda/library/cudnn.h"

namespace coss::cuda {
namespace {

namespace fe = cudnn_frontend;
using Attributes = fe::graph::Tensor_attributes;
using TensorPointer = std::shared_ptr<Attributes>;
using Dims = std::vector<int64_t>;

// Engines that need more scratch memory than this, and more than the activations, are left out, since a larger batch is
// a better use of it. The second bound grows with the batch, like the tensors that an engine pads or transposes.
constexpr int64_t kWorkspace = int64_t(1) << 30;
int64_t max_workspace(const ConvKey& key) {
  const int64_t elements = key.n * (key.h * key.w * key.c + key.p() * key.q() * key.k);
  return std::max(kWorkspace, elements * int64_t(size_of(key.dtype)));
}

fe::DataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return fe::DataType_t::BFLOAT16;
    case DType::f16:
      return fe::DataType_t::HALF;
    default:
      return fe::DataType_t::FLOAT;
  }
}

std::string first_line(const std::string& text) { return text.substr(0, std::min(text.find('\n'), size_t(300))); }

// The convolution that cuDNN sees for a key on a route.
ConvKey seen_by_library(ConvKey key, Route route) {
  if (route == Route::widened) {
    key.dtype = DType::f32;
    key.tf32 = true;
  }
  if (route == Route::padded) key.c = kPaddedChannels;
  return key;
}

// Unlike its base class it gives plans by index and executes them itself. So it avoids the maps, the checks and the
// calls through a shared CUDA runtime in the base's execute().
class Graph final : public fe::graph::Graph, public ConvGraph {
 public:
  Graph(const ConvKey& key, Route route) : key_(seen_by_library(key, route)), route_(route) {
    set_io_data_type(type_of(key_.dtype));
    set_intermediate_data_type(fe::DataType_t::FLOAT).set_compute_data_type(fe::DataType_t::FLOAT);
    // Recorded steps outlive no plan here: plans live as long as the library handle.
    set_cuda_graph_retention(fe::CudaGraphRetention_t::NONE);
  }

  bool prepare(const Target& target, std::string& problem) {
    describe();
    if (!target.handle) {
      auto device = std::make_shared<fe::DeviceProperties>();
      if (!good(device->deserialize({target.device_json.begin(), target.device_json.end()}), problem)) return false;
      set_device_properties(device);
    }
    deselect_workspace_greater_than(max_workspace(key_));
    if (!good(validate(), problem)) return false;
    if (!good(target.handle ? build_operation_graph(target.handle) : build_operation_graph(), problem)) return false;
    if (!good(create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK}), problem)) return false;
    for (size_t i = 0; i < plans.numeric_notes.size(); ++i)
      if (suitable(plans.numeric_notes[i])) suitable_.push_back(int64_t(i));
    if (suitable_.empty()) problem = "no engine is precise and reproducible enough";
    return !suitable_.empty();
  }

  size_t count() const override { return suitable_.size(); }
  std::string name(size_t i) const override {
    std::string text;
    return plans.get_name_at_index(suitable_[i], text).is_good() ? text : "";
  }
  bool compiled_at_run_time(size_t i) const override {
    const auto& notes = plans.behavior_notes[size_t(suitable_[i])];
    return std::find(notes.begin(), notes.end(), fe::BehaviorNote_t::RUNTIME_COMPILATION) != notes.end();
  }
  bool build(size_t i, std::string& problem) override {
    try {
      return good(build_plan_at_index(suitable_[i]), problem);
    } catch (const std::exception& error) {
      problem = first_line(error.what());
      return false;
    }
  }
  size_t workspace(size_t i) const override { return size_t(std::max<int64_t>(0, built(i).getWorkspaceSize())); }
  void keep_only(size_t i) override {
    for (size_t other = 0; other < suitable_.size(); ++other)
      if (other != i) plans.execution_plans[size_t(suitable_[other])].reset();
  }

  void execute(cudnnContext* handle, size_t i, void* const* pointers, void* memory) const override {
    void* used[kConvSlots];
    for (size_t slot = 0; slot < uids_.size(); ++slot) used[slot] = pointers[uids_[slot] - 1];
    fe::detail::backend_descriptor arguments(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    auto status = fe::detail::create_variant_pack(arguments, used, uids_, memory);
    COSS_CHECK(status.is_good(), "cuDNN: " + first_line(status.get_message()) + " (" + key_.text() + ")");
    const cudnnStatus_t done = fe::detail::execute(handle, built(i).get_raw_desc(), arguments.get_ptr());
    COSS_CHECK(done == CUDNN_STATUS_SUCCESS, std::string("cuDNN: ") + fe::detail::get_error_string(done) + " in " +
                                                 name(i) + " (" + key_.text() + ")");
  }

 private:
  static bool good(fe::error_t status, std::string& problem) {
    if (status.is_bad()) problem = first_line(status.get_message());
    return status.is_good();
  }

  // Not suitable are engines whose order of additions changes from run to run, that add in less than f32, or that use
  // transforms which lose digits. TENSOR_CORE means TF32 where the inputs are f32.
  bool suitable(const std::vector<fe::NumericalNote_t>& notes) const {
    using Note = fe::NumericalNote_t;
    auto has = [&](Note note) { return std::find(notes.begin(), notes.end(), note) != notes.end(); };
    if (key_.wide() && !key_.tf32 && has(Note::TENSOR_CORE)) return false;
    return !has(Note::NONDETERMINISTIC) && !has(Note::REDUCED_PRECISION_REDUCTION) && !has(Note::DOWN_CONVERT_INPUTS) &&
           !has(Note::FFT) && !has(Note::WINOGRAD);
  }

  const fe::ExecutionPlan& built(size_t i) const {
    const auto& plan = plans.execution_plans[size_t(suitable_[i])];
    COSS_ASSERT(plan != nullptr);
    return *plan;
  }

  // --- tensors ---

  static Dims strides_of(const Dims& d) { return {d[1] * d[2] * d[3], 1, d[3] * d[1], d[1]}; }
  TensorPointer input(ConvSlot slot, const Dims& dims, DType dtype) {
    uids_.push_back(int64_t(slot) + 1);
    return tensor(Attributes()
                      .set_uid(int64_t(slot) + 1)
                      .set_dim(dims)
                      .set_stride(strides_of(dims))
                      .set_data_type(type_of(dtype)));
  }
  void output(const TensorPointer& y, const Dims& dims, DType dtype) {
    uids_.push_back(int64_t(kConvOut) + 1);
    y->set_output(true).set_uid(int64_t(kConvOut) + 1).set_dim(dims).set_stride(strides_of(dims));
    y->set_data_type(type_of(dtype));
  }
  // A tensor inside the graph, between two operations.
  static TensorPointer inner(const TensorPointer& y, const Dims& dims) {
    y->set_dim(dims).set_stride(strides_of(dims)).set_data_type(fe::DataType_t::FLOAT);
    return y;
  }
  TensorPointer add(const TensorPointer& a, const TensorPointer& b) {
    return pointwise(a, b, pointwise_of(fe::PointwiseMode_t::ADD));
  }
  static fe::graph::Pointwise_attributes pointwise_of(fe::PointwiseMode_t mode) {
    return fe::graph::Pointwise_attributes().set_mode(mode).set_compute_data_type(fe::DataType_t::FLOAT);
  }
  template <class ConvAttributes>
  ConvAttributes convolution() const {
    const ConvParams& p = key_.params;
    ConvAttributes attributes;
    attributes.set_pre_padding({key_.above(), key_.left()}).set_post_padding({key_.below(), key_.right()});
    attributes.set_stride({p.stride, p.stride}).set_dilation({p.dilation, p.dilation});
    return attributes;
  }

  // --- graphs ---

  void describe() {
    const Dims x{key_.n, key_.c, key_.h, key_.w}, y{key_.n, key_.k, key_.p(), key_.q()};
    const Dims w{key_.k, key_.c / key_.params.groups, key_.r, key_.s};
    const DType dtype = key_.dtype;
    switch (key_.kind) {
      case ConvKind::forward:
      case ConvKind::bias_act: {
        const TensorPointer a = input(kConvA, x, dtype), b = input(kConvB, w, dtype);
        TensorPointer out = conv_fprop(a, b, convolution<fe::graph::Conv_fprop_attributes>());
        if (key_.kind == ConvKind::bias_act && route_ != Route::separate) out = with_bias(inner(out, y), y);
        return output(out, y, dtype);
      }
      case ConvKind::dgrad: {
        const TensorPointer a = input(kConvA, y, dtype), b = input(kConvB, w, dtype);
        return output(conv_dgrad(a, b, convolution<fe::graph::Conv_dgrad_attributes>()), x, dtype);
      }
      case ConvKind::wgrad: {
        const TensorPointer a = input(kConvA, y, dtype), b = input(kConvB, x, dtype);
        TensorPointer out = conv_wgrad(a, b, convolution<fe::graph::Conv_wgrad_attributes>());
        if (!key_.wide()) {
          // 16-bit inputs give a 16-bit gradient, unless an operation follows: then the sum stays f32. More engines
          // support a product with a number than a copy.
          const TensorPointer one = input(kConvOne, {1, 1, 1, 1}, DType::f32);
          one->set_is_pass_by_value(true);
          out = pointwise(inner(out, w), one, pointwise_of(fe::PointwiseMode_t::MUL));
        }
        return output(out, w, DType::f32);
      }
    }
  }

  // The precompiled engines support this order only: the residual before the bias.
  TensorPointer with_bias(TensorPointer out, const Dims& y) {
    if (key_.residual) out = inner(add(out, input(kConvResidual, y, key_.dtype)), y);
    const DType bias = route_ == Route::rounded_bias ? key_.dtype : DType::f32;
    out = add(out, input(kConvBias, {1, key_.k, 1, 1}, bias));
    if (key_.activation == Activation::none) return out;
    if (key_.activation == Activation::silu)
      return pointwise(inner(out, y), pointwise_of(fe::PointwiseMode_t::SWISH_FWD).set_swish_beta(1.0f));
    auto relu = pointwise_of(fe::PointwiseMode_t::RELU_FWD);
    if (key_.activation == Activation::relu6) relu.set_relu_upper_clip(6.0f);
    return pointwise(inner(out, y), relu);
  }

  const ConvKey key_;
  const Route route_;
  std::vector<int64_t> uids_;      // a slot's is its number + 1
  std::vector<int64_t> suitable_;  // indices of engine configurations
};

}  // namespace

std::unique_ptr<ConvGraph> ConvGraph::make(const Target& target, const ConvKey& key, Route route,
                                           std::string& problem) {
  open_cudnn();
  COSS_ASSERT(!key.params.depthwise && route != Route::product);
  try {
    auto graph = std::make_unique<Graph>(key, route);
    if (graph->prepare(target, problem)) return graph;
  } catch (const std::exception& error) {
    problem = first_line(error.what());
  }
  return nullptr;
}

}  // namespace coss::cuda
