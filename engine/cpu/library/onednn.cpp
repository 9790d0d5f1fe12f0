// Hides the differences of oneDNN 2.6 (operation descriptors, eltwise scales) and 3.x (neither) and implements the
// caches of onednn.h.
#include "engine/cpu/library/onednn.h"

#include <omp.h>

#include <algorithm>
#include <string>

#include "engine/kernels.h"

namespace coss::cpu {

namespace {
dnnl::stream& dnnl_stream() {
  static dnnl::stream stream(dnnl_engine());
  return stream;
}

size_t mix(size_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}
}  // namespace

const dnnl::engine& dnnl_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::memory::data_type dnnl_type(DType dtype) {
  COSS_CHECK(dtype == DType::f32 || dtype == DType::bf16,
             std::string("the CPU backend computes in fp32 and bf16, not in ") + name_of(dtype) +
                 ": use --dtype bf16 or --dtype fp32");
  return dtype == DType::f32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

dnnl::primitive_attr dnnl_attributes(const dnnl::post_ops& post) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attributes.set_post_ops(post);
  return attributes;
}

namespace {
bool named(const dnnl::primitive_desc_base& desc, const char* prefix) {
  return std::string(desc.impl_info_str()).starts_with(prefix);
}

// make() with the implementation that ConvDescs::avoid_brgconv asks for.
template <class Make>
auto choose(bool avoid_brgconv, const Make& make) {
  auto first = make();
  if (!avoid_brgconv || !named(first, "brg")) return first;
  auto other = make();
  while (named(other, "brg"))
    if (!other.next_impl()) return first;
  return named(other, "jit") ? other : first;
}
}  // namespace

// --- the two interfaces ------------------------------------------------------------------------------------------

#if DNNL_VERSION_MAJOR >= 3

namespace {
void append(dnnl::post_ops& post, dnnl::algorithm kind, float alpha, float beta) {
  // In version 3 hardswish's line, x / 6 + 1 / 2, has parameters.
  if (kind == dnnl::algorithm::eltwise_hardswish) alpha = 1 / 6.0f, beta = 0.5f;
  post.append_eltwise(kind, alpha, beta);
}
}  // namespace

dnnl::convolution_forward::primitive_desc conv_forward_desc(const ConvDescs& d, bool inference,
                                                            const dnnl::primitive_attr& attributes) {
  const auto kind = inference ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training;
  return choose(d.avoid_brgconv, [&] {
    return dnnl::convolution_forward::primitive_desc(dnnl_engine(), kind, dnnl::algorithm::convolution_direct, d.x, d.w,
                                                     d.bias, d.y, d.stride, d.dilation, d.pad_before, d.pad_behind,
                                                     attributes);
  });
}

dnnl::convolution_backward_data::primitive_desc conv_dgrad_desc(const ConvDescs& d) {
  const auto attributes = dnnl_attributes();
  const auto hint = conv_forward_desc(d, false, attributes);
  return choose(d.avoid_brgconv, [&] {
    return dnnl::convolution_backward_data::primitive_desc(dnnl_engine(), dnnl::algorithm::convolution_direct, d.x, d.w,
                                                           d.y, d.stride, d.dilation, d.pad_before, d.pad_behind, hint,
                                                           attributes);
  });
}

dnnl::convolution_backward_weights::primitive_desc conv_wgrad_desc(const ConvDescs& d) {
  const auto attributes = dnnl_attributes();
  ConvDescs hint = d;  // the forward pass has its weights in the type of x
  hint.w = Desc(d.w.get_dims(), d.x.get_data_type(), dnnl::memory::format_tag::any);
  return {dnnl_engine(), dnnl::algorithm::convolution_direct,
          d.x,           d.w,
          d.y,           d.stride,
          d.dilation,    d.pad_before,
          d.pad_behind,  conv_forward_desc(hint, false, attributes),
          attributes};
}

dnnl::matmul::primitive_desc matmul_desc(const Desc& a, const Desc& b, const Desc& bias, const Desc& y,
                                         const dnnl::primitive_attr& attributes) {
  if (bias.is_zero()) return {dnnl_engine(), a, b, y, attributes};
  return {dnnl_engine(), a, b, bias, y, attributes};
}

#else

namespace {
void append(dnnl::post_ops& post, dnnl::algorithm kind, float alpha, float beta) {
  post.append_eltwise(1, kind, alpha, beta);
}
}  // namespace

dnnl::convolution_forward::primitive_desc conv_forward_desc(const ConvDescs& d, bool inference,
                                                            const dnnl::primitive_attr& attributes) {
  const auto kind = inference ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training;
  // The operation must outlive the search: next_impl() reads it.
  const dnnl::convolution_forward::desc operation(kind, dnnl::algorithm::convolution_direct, d.x, d.w, d.bias, d.y,
                                                  d.stride, d.dilation, d.pad_before, d.pad_behind);
  return choose(d.avoid_brgconv,
                [&] { return dnnl::convolution_forward::primitive_desc(operation, attributes, dnnl_engine()); });
}

dnnl::convolution_backward_data::primitive_desc conv_dgrad_desc(const ConvDescs& d) {
  return {{dnnl::algorithm::convolution_direct, d.x, d.w, d.y, d.stride, d.dilation, d.pad_before, d.pad_behind},
          dnnl_attributes(),
          dnnl_engine(),
          conv_forward_desc(d, false, dnnl_attributes())};
}

dnnl::convolution_backward_weights::primitive_desc conv_wgrad_desc(const ConvDescs& d) {
  ConvDescs hint = d;  // the forward pass has its weights in the type of x
  hint.w = Desc(d.w.dims(), d.x.data_type(), dnnl::memory::format_tag::any);
  return {{dnnl::algorithm::convolution_direct, d.x, d.w, d.y, d.stride, d.dilation, d.pad_before, d.pad_behind},
          dnnl_attributes(),
          dnnl_engine(),
          conv_forward_desc(hint, false, dnnl_attributes())};
}

dnnl::matmul::primitive_desc matmul_desc(const Desc& a, const Desc& b, const Desc& bias, const Desc& y,
                                         const dnnl::primitive_attr& attributes) {
  if (bias.is_zero()) return {{a, b, y}, attributes, dnnl_engine()};
  return {{a, b, bias, y}, attributes, dnnl_engine()};
}

#endif

void append_activation(dnnl::post_ops& post, Activation activation) {
  switch (activation) {
    case Activation::none:
      return;
    case Activation::relu:
      return append(post, dnnl::algorithm::eltwise_relu, 0, 0);
    case Activation::relu6:
      return append(post, dnnl::algorithm::eltwise_clip, 0, 6);
    case Activation::silu:
      return append(post, dnnl::algorithm::eltwise_swish, 1, 0);
    case Activation::quick_gelu:
      return append(post, dnnl::algorithm::eltwise_swish, 1.702f, 0);
    case Activation::hardswish:
      return append(post, dnnl::algorithm::eltwise_hardswish, 0, 0);
    case Activation::gelu:
      return append(post, dnnl::algorithm::eltwise_gelu_erf, 0, 0);
    default:
      throw Error("convolutions and matrix products end with no sigmoid or hardsigmoid: apply it to their result");
  }
}

dnnl::reorder::primitive_desc reorder_desc(const Desc& x, const Desc& y, float beta) {
  dnnl::post_ops post;
  if (beta != 0) post.append_sum(beta);
  return {dnnl_engine(), x, dnnl_engine(), y, dnnl_attributes(post)};
}

// --- Primitive ---------------------------------------------------------------------------------------------------

Primitive& Primitive::add(int argument, const Desc& desc) {
  memories_.emplace_back(desc, dnnl_engine(), nullptr);
  arguments_.push_back({argument, memories_.back().get()});
  return *this;
}

Primitive& Primitive::set(int argument, const void* pointer) {
  for (size_t i = 0; i < arguments_.size(); ++i)
    if (arguments_[i].arg == argument) memories_[i].set_data_handle(const_cast<void*>(pointer));
  return *this;
}

void Primitive::run(void* scratch) {
  memories_[0].set_data_handle(scratch);
  const auto status =
      dnnl_primitive_execute(primitive_.get(), dnnl_stream().get(), int(arguments_.size()), arguments_.data());
  COSS_CHECK(status == dnnl_success, "oneDNN failed to run a primitive, status " + std::to_string(int(status)));
}

// --- WeightCache -------------------------------------------------------------------------------------------------

size_t WeightCache::KeyHash::operator()(const Key& key) const {
  return mix(mix(0, reinterpret_cast<uintptr_t>(key.pointer)), uint64_t(key.conversion));
}

int WeightCache::conversion(const Desc& from, const Desc& to) {
  if (from == to) return kSame;
  for (size_t i = 0; i < conversions_.size(); ++i)
    if (conversions_[i].from == from && conversions_[i].to == to) return int(i);
  Primitive reorder(reorder_desc(from, to, 0));
  reorder.add(DNNL_ARG_FROM, from).add(DNNL_ARG_TO, to);
  conversions_.push_back({from, to, std::move(reorder)});
  return int(conversions_.size()) - 1;
}

WeightCache::Entry& WeightCache::entry_for(const Key& key, const Shape& shape, DType dtype) {
  auto found = entries_.find(key);
  if (found == entries_.end()) {
    const size_t bytes = size_t(shape.numel()) * size_of(dtype);
    evict(bytes);
    found = entries_.emplace(key, Entry{0, 0, Tensor(shape, dtype, Device::cpu)}).first;
    bytes_ += bytes;
  }
  found->second.used = ++clock_;
  return found->second;
}

const void* WeightCache::get(Context& ctx, const Tensor& w, int conversion) {
  if (conversion == kSame) return w.raw();
  Conversion& how = conversions_[size_t(conversion)];
  Entry& entry = entry_for({w.raw(), conversion}, {int64_t(how.to.get_size())}, DType::u8);
  if (entry.version != w.version()) {
    how.reorder.set(DNNL_ARG_FROM, w.raw()).set(DNNL_ARG_TO, entry.reordered.raw());
    how.reorder.run(ctx.workspace(how.reorder.scratch_bytes()));
    entry.version = w.version();
    ++reorders_;
  }
  return entry.reordered.raw();
}

Tensor WeightCache::widened(Context& ctx, const Tensor& w) {
  if (ctx.plans_only()) return Tensor(w.shape(), DType::f32, Device::dry);
  Entry& entry = entry_for({w.raw(), kSame - 1 - w.numel()}, {w.numel()}, DType::f32);
  if (entry.version != w.version()) {
    cast(ctx, w, entry.reordered);  // this also changes its version, which get() compares
    entry.version = w.version();
    ++reorders_;
  }
  return entry.reordered.reshape(w.shape());
}

void WeightCache::evict(size_t incoming) {
  while (!entries_.empty() && (bytes_ + incoming > kMaxBytes || entries_.size() >= kMaxEntries)) {
    auto oldest = std::min_element(entries_.begin(), entries_.end(),
                                   [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
    bytes_ -= oldest->second.reordered.bytes();
    entries_.erase(oldest);
  }
}

// --- State -------------------------------------------------------------------------------------------------------

PlanKey::PlanKey(PlanKind kind, std::initializer_list<int64_t> list) {
  COSS_ASSERT(list.size() + 2 <= values.size());
  values[0] = int64_t(kind);
  values[1] = omp_get_max_threads();  // a primitive divides its work among threads when it is made
  std::copy(list.begin(), list.end(), values.begin() + 2);
}

size_t State::KeyHash::operator()(const PlanKey& key) const {
  size_t hash = 0;
  for (int64_t value : key.values) hash = mix(hash, uint64_t(value));
  return hash;
}

void State::refuse(const char* op, const dnnl::error& error) {
  throw Error(std::string("[") + op + "] oneDNN cannot compute this on the processor (" + error.what() + ")");
}

}  // namespace coss::cpu
