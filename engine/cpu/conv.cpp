// Convolution through oneDNN: forward, fused inference, and both gradients. Activations stay NHWC, which oneDNN takes
// without loss. Weights go to oneDNN in the layout that it prefers, through State::weights.
#include <algorithm>
#include <bit>

#include "engine/cpu/activation.h"
#include "engine/cpu/depthwise.h"
#include "engine/cpu/library/onednn.h"
#include "engine/cpu/library/widen.h"
#include "engine/cpu/parallel.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

Desc nhwc(const Shape& s, DType dtype) {
  return {Dims{s[0], s[3], s[1], s[2]}, dnnl_type(dtype), dnnl::memory::format_tag::nhwc};
}

// The engine's weights, (K,R,S,C/groups) or (R,S,C), as oneDNN sees them: (G,)O,I,H,W with strides.
struct WeightView {
  Dims dims, strides;

  WeightView(const ConvParams& p, const Shape& w) {
    if (p.depthwise) {
      const int64_t r = w[0], s = w[1], c = w[2];
      dims = {c, 1, 1, r, s};
      strides = {1, 1, c, s * c, c};
    } else {
      const int64_t k = w[0], r = w[1], s = w[2], c = w[3];
      dims = {k, c, r, s};
      strides = {r * s * c, 1, s * c, c};
      if (p.groups > 1) {
        dims[0] = k / p.groups;
        dims.insert(dims.begin(), p.groups);
        strides.insert(strides.begin(), k / p.groups * r * s * c);
      }
    }
  }
  Desc dense(DType dtype) const { return {dims, dnnl_type(dtype), strides}; }
  Desc any(DType dtype) const { return {dims, dnnl_type(dtype), dnnl::memory::format_tag::any}; }
};

ConvDescs describe(const ConvParams& p, const Shape& x, const WeightView& w, const Shape& y, DType dtype,
                   DType weight_dtype) {
  const Dims stride{p.stride, p.stride}, dilation{p.dilation - 1, p.dilation - 1};
  const int64_t window_h = w.dims[w.dims.size() - 2], window_w = w.dims.back();
  const Dims before{p.pad_before(x[1], window_h), p.pad_before(x[2], window_w)};
  const Dims behind{p.pad_behind(x[1], window_h), p.pad_behind(x[2], window_w)};
  const bool few_channels = !p.depthwise && w.dims.back() > 1 && std::max(x[3], y[3]) <= 32;
  return {nhwc(x, dtype), w.any(weight_dtype), Desc(), nhwc(y, dtype), stride, dilation, before, behind, few_channels};
}

// `extra` holds what a plan of this kind needs besides the shapes: an activation, or the bits of beta.
PlanKey key_of(PlanKind kind, const ConvParams& p, const Shape& x, const Shape& w, const Shape& y, DType dtype,
               int64_t extra) {
  COSS_ASSERT(x.rank == 4 && y.rank == 4 && w.rank == (p.depthwise ? 3 : 4) && x[0] == y[0]);
  COSS_ASSERT(p.depthwise ? w[2] == x[3] && w[2] == y[3] : w[0] == y[3] && w[3] * p.groups == x[3]);
  const int64_t window_h = p.depthwise ? w[0] : w[1], window_w = p.depthwise ? w[1] : w[2];
  COSS_ASSERT(y[1] == p.out_size(x[1], window_h) && y[2] == p.out_size(x[2], window_w));
  return {kind,
          {x[0], x[1], x[2], x[3], y[3], window_h, window_w, p.stride, p.pad, p.dilation, p.depthwise ? x[3] : p.groups,
           p.depthwise, p.same, int64_t(dtype), extra}};
}

bool pointwise(const ConvParams& p, const Shape& w) {
  return !p.depthwise && w[1] == 1 && w[2] == 1 && p.pad == 0 && p.groups == 1;
}

// The fp32 gradients of a wide 1x1 convolution are 5 to 30 % faster as plain matrix products.
bool as_matmul(const ConvParams& p, const Shape& w, DType dtype) {
  return dtype == DType::f32 && pointwise(p, w) && p.stride == 1 && std::min(w[0], w[3]) >= 64;
}

// y = act(sum + residual); y may be `sum`.
template <class Sum, class T>
void add_and_activate(Activation activation, const Tensor& sum, const Tensor& residual, Tensor& y) {
  T* out = y.mutable_data<T>();
  const Sum* in = sum.data<Sum>();
  const T* r = residual.data<T>();
  dispatch_fused(activation, [&]<Activation kAct>() {
    parallel_ranges(y.numel(), kLanes, int64_t(sizeof(Sum) + 2 * sizeof(T)), [&](int64_t begin, int64_t end) {
      for_vectors(begin, end,
                  [&](int64_t i, auto n) { put(out + i, activated<kAct>(get(in + i, n) + get(r + i, n)), n); });
    });
  });
}

// Calls body(first, images) for blocks of images of x and y, which are widened one block after the other.
template <class Body>
void for_blocks_of_images(const Shape& x, const Shape& y, int64_t fixed_values, Body&& body) {
  const int64_t values = (x.numel() + y.numel()) / std::max<int64_t>(x[0], 1);
  for_blocks(x[0], rows_per_block(x[0], values, fixed_values), body);
}

}  // namespace

void conv2d_forward(Context& ctx, const ConvParams& p, const Tensor& x, const Tensor& w, Tensor& y) {
  if (!library_computes(x.dtype())) {
    const Tensor weights = ctx.state<State>().weights.widened(ctx, w);
    return for_blocks_of_images(x.shape(), y.shape(), 0, [&](int64_t first, int64_t images) {
      Tensor out = rows_of(y, first, images), wide = wide_tensor(ctx, WidePart::y, out.shape());
      conv2d_forward(ctx, p, widened(ctx, WidePart::x, rows_of(x, first, images)), weights, wide);
      narrow(ctx, wide, out);
    });
  }
  State& state = ctx.state<State>();
  const PlanKey key = key_of(PlanKind::conv_forward, p, x.shape(), w.shape(), y.shape(), x.dtype(), 0);
  Plan& plan = state.plan(key, "conv2d", [&](Plan& fresh) {
    const WeightView view(p, w.shape());
    const ConvDescs descs = describe(p, x.shape(), view, y.shape(), x.dtype(), x.dtype());
    const auto desc = conv_forward_desc(descs, false, dnnl_attributes());
    fresh.primitive = Primitive(desc);
    fresh.primitive.add(DNNL_ARG_SRC, descs.x).add(DNNL_ARG_WEIGHTS, desc.weights_desc()).add(DNNL_ARG_DST, descs.y);
    fresh.conversion = state.weights.conversion(view.dense(x.dtype()), desc.weights_desc());
  });
  COSS_ASSERT(w.dtype() == x.dtype() && y.dtype() == x.dtype());
  if (ctx.plans_only()) return;
  plan.primitive.set(DNNL_ARG_WEIGHTS, state.weights.get(ctx, w, plan.conversion));
  plan.primitive.set(DNNL_ARG_SRC, x.raw()).set(DNNL_ARG_DST, y.mutable_raw());
  plan.primitive.run(ctx.workspace(plan.primitive.scratch_bytes()));
}

void conv2d_bias_act(Context& ctx, const ConvParams& p, Activation activation, const Tensor& x, const Tensor& w,
                     const Tensor& bias, const Tensor& residual, Tensor& y) {
  if (!library_computes(x.dtype())) {
    const Tensor weights = ctx.state<State>().weights.widened(ctx, w);
    const Activation inside = residual.empty() ? activation : Activation::none;
    return for_blocks_of_images(x.shape(), y.shape(), 0, [&](int64_t first, int64_t images) {
      Tensor out = rows_of(y, first, images), wide = wide_tensor(ctx, WidePart::y, out.shape());
      conv2d_bias_act(ctx, p, inside, widened(ctx, WidePart::x, rows_of(x, first, images)), weights, bias, {}, wide);
      if (residual.empty())
        narrow(ctx, wide, out);
      else if (!ctx.plans_only())
        add_and_activate<float, bf16>(activation, wide, rows_of(residual, first, images), out);
    });
  }
  constexpr int kResidual = DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1;
  State& state = ctx.state<State>();
  // Adding the residual inside the convolution is faster only for bf16 windows. The oneDNN kernels that can do it are
  // older and read the residual in an order that is slow (fp32, 64 to 256 channels: 97 GFLOP/s inside, 139 as two
  // passes).
  const bool add_after = !residual.empty() && (x.dtype() == DType::f32 || pointwise(p, w.shape()));
  const bool add_inside = !residual.empty() && !add_after;
  const Activation inside = add_after ? Activation::none : activation;
  const PlanKey key =
      key_of(PlanKind::conv_bias_act, p, x.shape(), w.shape(), y.shape(), x.dtype(), int64_t(inside) * 2 + add_inside);
  Plan& plan = state.plan(key, "conv2d", [&](Plan& fresh) {
    const WeightView view(p, w.shape());
    ConvDescs descs = describe(p, x.shape(), view, y.shape(), x.dtype(), x.dtype());
    descs.bias = Desc({y.shape()[3]}, dnnl_type(DType::f32), dnnl::memory::format_tag::x);
    dnnl::post_ops post;
    if (add_inside) post.append_binary(dnnl::algorithm::binary_add, descs.y);
    append_activation(post, inside);
    const auto desc = conv_forward_desc(descs, true, dnnl_attributes(post));
    fresh.primitive = Primitive(desc);
    fresh.primitive.add(DNNL_ARG_SRC, descs.x).add(DNNL_ARG_WEIGHTS, desc.weights_desc()).add(DNNL_ARG_DST, descs.y);
    fresh.primitive.add(DNNL_ARG_BIAS, descs.bias);
    if (add_inside) fresh.primitive.add(kResidual, descs.y);
    fresh.conversion = state.weights.conversion(view.dense(x.dtype()), desc.weights_desc());
  });
  COSS_ASSERT(w.dtype() == x.dtype() && y.dtype() == x.dtype() && bias.dtype() == DType::f32);
  COSS_ASSERT(residual.empty() || (residual.dtype() == y.dtype() && residual.shape() == y.shape()));
  if (ctx.plans_only()) return;
  plan.primitive.set(DNNL_ARG_WEIGHTS, state.weights.get(ctx, w, plan.conversion));
  if (add_inside) plan.primitive.set(kResidual, residual.raw());
  plan.primitive.set(DNNL_ARG_SRC, x.raw()).set(DNNL_ARG_BIAS, bias.raw()).set(DNNL_ARG_DST, y.mutable_raw());
  plan.primitive.run(ctx.workspace(plan.primitive.scratch_bytes()));
  if (add_after && x.dtype() == DType::f32) add_and_activate<float, float>(activation, y, residual, y);
  if (add_after && x.dtype() == DType::bf16) add_and_activate<bf16, bf16>(activation, y, residual, y);
}

void conv2d_dgrad(Context& ctx, const ConvParams& p, const Tensor& w, const Tensor& dy, Tensor& dx) {
  if (!library_computes(dy.dtype())) {
    const Tensor weights = ctx.state<State>().weights.widened(ctx, w);
    return for_blocks_of_images(dx.shape(), dy.shape(), 0, [&](int64_t first, int64_t images) {
      Tensor out = rows_of(dx, first, images), wide = wide_tensor(ctx, WidePart::x, out.shape());
      conv2d_dgrad(ctx, p, weights, widened(ctx, WidePart::y, rows_of(dy, first, images)), wide);
      narrow(ctx, wide, out);
    });
  }
  if (as_matmul(p, w.shape(), dy.dtype())) {
    Tensor result = as_matrix(dx);
    return matmul(ctx, {}, as_matrix(dy), w.reshape({w.shape()[0], w.shape()[3]}), Tensor(), result);
  }
  State& state = ctx.state<State>();
  const PlanKey key = key_of(PlanKind::conv_dgrad, p, dx.shape(), w.shape(), dy.shape(), dy.dtype(), 0);
  Plan& plan = state.plan(key, "conv2d", [&](Plan& fresh) {
    const WeightView view(p, w.shape());
    ConvDescs descs = describe(p, dx.shape(), view, dy.shape(), dy.dtype(), dy.dtype());
    descs.avoid_brgconv |= p.stride > 1;  // with a stride, oneDNN 3.2's brgconv has half the speed
    const auto desc = conv_dgrad_desc(descs);
    fresh.primitive = Primitive(desc);
    fresh.primitive.add(DNNL_ARG_DIFF_DST, descs.y).add(DNNL_ARG_WEIGHTS, desc.weights_desc());
    fresh.primitive.add(DNNL_ARG_DIFF_SRC, descs.x);
    fresh.conversion = state.weights.conversion(view.dense(dy.dtype()), desc.weights_desc());
  });
  COSS_ASSERT(w.dtype() == dy.dtype() && dx.dtype() == dy.dtype());
  if (ctx.plans_only()) return;
  plan.primitive.set(DNNL_ARG_WEIGHTS, state.weights.get(ctx, w, plan.conversion));
  plan.primitive.set(DNNL_ARG_DIFF_DST, dy.raw()).set(DNNL_ARG_DIFF_SRC, dx.mutable_raw());
  plan.primitive.run(ctx.workspace(plan.primitive.scratch_bytes()));
}

void conv2d_wgrad(Context& ctx, const ConvParams& p, const Tensor& x, const Tensor& dy, float beta, Tensor& dw) {
  if (as_matmul(p, dw.shape(), x.dtype()) && (beta == 0 || beta == 1)) {
    Tensor result = dw.reshape({dw.shape()[0], dw.shape()[3]});
    return matmul(ctx, {.transpose_a = true, .beta = beta}, as_matrix(dy), as_matrix(x), Tensor(), result);
  }
  if (has_depthwise_wgrad(p, dw.shape())) {
    if (!ctx.plans_only()) depthwise_wgrad(ctx, p, x, dy, beta, dw);
    return;
  }
  if (!library_computes(x.dtype()))
    return for_blocks_of_images(x.shape(), dy.shape(), dw.numel(), [&](int64_t first, int64_t images) {
      const Tensor wide_x = widened(ctx, WidePart::x, rows_of(x, first, images));
      const Tensor wide_dy = widened(ctx, WidePart::y, rows_of(dy, first, images));
      conv2d_wgrad(ctx, p, wide_x, wide_dy, first == 0 ? beta : 1, dw);
    });
  State& state = ctx.state<State>();
  const PlanKey key =
      key_of(PlanKind::conv_wgrad, p, x.shape(), dw.shape(), dy.shape(), x.dtype(), std::bit_cast<int32_t>(beta));
  Plan& plan = state.plan(key, "conv2d", [&](Plan& fresh) {
    const WeightView view(p, dw.shape());
    const ConvDescs descs = describe(p, x.shape(), view, dy.shape(), x.dtype(), DType::f32);
    const auto desc = conv_wgrad_desc(descs);
    const Desc computed = desc.diff_weights_desc(), wanted = view.dense(DType::f32);
    fresh.primitive = Primitive(desc);
    fresh.primitive.add(DNNL_ARG_SRC, descs.x).add(DNNL_ARG_DIFF_DST, descs.y).add(DNNL_ARG_DIFF_WEIGHTS, computed);
    if (computed != wanted || beta != 0) {
      fresh.finish = Primitive(reorder_desc(computed, wanted, beta));
      fresh.finish.add(DNNL_ARG_FROM, computed).add(DNNL_ARG_TO, wanted);
      fresh.finish_bytes = (computed.get_size() + 255) / 256 * 256;
    }
  });
  COSS_ASSERT(dy.dtype() == x.dtype() && dw.dtype() == DType::f32);
  if (ctx.plans_only()) return;
  const size_t scratch = std::max(plan.primitive.scratch_bytes(), plan.finish.scratch_bytes());
  char* workspace = static_cast<char*>(ctx.workspace(plan.finish_bytes + scratch));
  void* gradient = dw.mutable_raw();
  plan.primitive.set(DNNL_ARG_SRC, x.raw()).set(DNNL_ARG_DIFF_DST, dy.raw());
  plan.primitive.set(DNNL_ARG_DIFF_WEIGHTS, plan.finish ? workspace : gradient).run(workspace + plan.finish_bytes);
  if (plan.finish)
    plan.finish.set(DNNL_ARG_FROM, workspace).set(DNNL_ARG_TO, gradient).run(workspace + plan.finish_bytes);
}

}  // namespace coss::cpu
