// Dense convolutions: cuDNN's plan for the shape, and the kernels that its route needs besides (bias_act.h): copies of
// operands that are not aligned, wider copies, bias and activation, the addition to a weight gradient.
#include "engine/cuda/library/dense_conv.h"

#include <utility>

#include "engine/cuda/library/bias_act.h"
#include "engine/cuda/library/cudnn.h"
#include "engine/cuda/library/state.h"
#include "engine/cuda/library/stem_fold.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

constexpr float kOne = 1;

// The tensors of a convolution as ConvSlot orders them.
struct Operands {
  const Tensor& a;
  const Tensor& b;
  const Tensor* bias = nullptr;
  const Tensor* residual = nullptr;
  float beta = 0;  // out = beta * out + result
};

Rows rows_of(const void* data, const Tensor& shape_of) {
  return {data, shape_of.dtype(), shape_of.shape().rows(), shape_of.shape().back()};
}
size_t bytes_of(const Rows& matrix) { return size_t(matrix.rows * matrix.width) * size_of(matrix.dtype); }

// One workspace cut into parts. Call add() for all parts, then take(), then use them.
class Parts {
 public:
  size_t add(size_t bytes) {
    const size_t at = bytes_;
    bytes_ += (bytes + 255) / 256 * 256;
    return at;
  }
  void take(Context& ctx) { base_ = bytes_ == 0 ? nullptr : static_cast<char*>(ctx.workspace(bytes_)); }
  void* operator[](size_t at) const { return base_ + at; }

 private:
  size_t bytes_ = 0;
  char* base_ = nullptr;
};

// An input as the plan reads it: the tensor itself, or a copy, in another type, of another width, folded, or only
// because it does not begin at a multiple of 16 bytes, which cuDNN's engines require.
struct Input {
  enum class Fold { no, image, window };
  Rows from, to;
  Fold fold = Fold::no;
  size_t part = 0;
  bool copied = false;

  Input() = default;
  Input(Parts& parts, const Tensor& x, DType dtype, int64_t width) : from(rows_of(x.raw(), x)), to(from) {
    to.dtype = dtype;
    to.width = width;
    copied = dtype != from.dtype || width != from.width || reinterpret_cast<uintptr_t>(from.data) % 16 != 0;
    if (copied) part = parts.add(bytes_of(to));
  }
  Input(Parts& parts, const Tensor& x, const ConvKey& key, Fold kind)
      : from(rows_of(x.raw(), x)), fold(kind), copied(true) {
    const ConvKey folded = key.folded();
    const int64_t rows = kind == Fold::image ? folded.n * folded.h * folded.w : folded.k * folded.r * folded.s;
    to = {nullptr, key.dtype, rows, folded.c};
    part = parts.add(bytes_of(to));
  }
  void* prepare(Context& ctx, const ConvKey& key, const Parts& parts) {
    if (copied) to.data = parts[part];
    if (fold == Fold::image)
      fold_image(ctx, key, from.data, parts[part]);
    else if (fold == Fold::window)
      fold_window(ctx, key, from.data, parts[part]);
    else if (copied)
      copy_rows(ctx, from, to);
    return const_cast<void*>(to.data);
  }
};

void multiply(Context& ctx, const Operands& o, Tensor& dw) {
  const Tensor dy = o.a.reshape({o.a.shape().rows(), o.a.shape().back()});
  const Tensor x = o.b.reshape({o.b.shape().rows(), o.b.shape().back()});
  Tensor result = dw.reshape({dw.shape()[0], dw.shape()[3]});
  float beta = o.beta;
  if (beta != 0 && beta != 1) {
    add_rows(ctx, beta, Rows(), rows_of(dw.mutable_raw(), dw));
    beta = 1;
  }
  matmul(ctx, {.transpose_a = true, .beta = beta}, dy, x, Tensor(), result);
}

void execute(Context& ctx, const ConvKey& key, const ConvPlan& plan, const Operands& o, Tensor& out) {
  const Route route = plan.way.route;
  if (route == Route::product) return multiply(ctx, o, out);
  const bool fold = plan.way.folded, wgrad = key.kind == ConvKind::wgrad;
  const DType dtype = route == Route::widened ? DType::f32 : key.dtype;
  const int64_t a_width = o.a.shape().back(), b_width = route == Route::padded ? kPaddedChannels : o.b.shape().back();
  const bool bias_inside = o.bias && route != Route::separate, residual_inside = o.residual && route != Route::separate;

  Parts parts;
  Input a = fold && !wgrad ? Input(parts, o.a, key, Input::Fold::image) : Input(parts, o.a, dtype, a_width);
  Input b = fold ? Input(parts, o.b, key, wgrad ? Input::Fold::image : Input::Fold::window)
                 : Input(parts, o.b, dtype, b_width);
  Input bias, residual;
  if (bias_inside) bias = Input(parts, *o.bias, route == Route::rounded_bias ? dtype : DType::f32, key.k);
  if (residual_inside) residual = Input(parts, *o.residual, dtype, key.k);
  const Rows target = rows_of(out.mutable_raw(), out);
  Rows computed = target;
  if (route == Route::padded) computed.width = kPaddedChannels;
  if (fold && wgrad) computed = {nullptr, DType::f32, key.k * key.folded().r * key.folded().s, kFoldedChannels};
  const bool straight = o.beta == 0 && computed.data == target.data && computed.width == target.width &&
                        reinterpret_cast<uintptr_t>(target.data) % 16 == 0;
  const size_t result = straight ? 0 : parts.add(bytes_of(computed));
  const size_t scratch = parts.add(plan.workspace);
  parts.take(ctx);
  if (!straight) computed.data = parts[result];

  void* pointers[kConvSlots] = {};
  pointers[kConvA] = a.prepare(ctx, key, parts);
  pointers[kConvB] = b.prepare(ctx, key, parts);
  if (bias_inside) pointers[kConvBias] = bias.prepare(ctx, key, parts);
  if (residual_inside) pointers[kConvResidual] = residual.prepare(ctx, key, parts);
  pointers[kConvOut] = const_cast<void*>(computed.data);
  pointers[kConvOne] = const_cast<float*>(&kOne);
  plan.graph->execute(ctx.state<State>().cudnn().handle(), plan.index, pointers,
                      plan.workspace ? parts[scratch] : nullptr);

  if (route == Route::separate)
    add_bias_act(ctx, key.activation, o.bias->data<float>(), o.residual ? o.residual->raw() : nullptr, computed);
  if (straight) return;
  if (fold && wgrad)
    unfold_window(ctx, key, o.beta, static_cast<const float*>(computed.data), out.mutable_data<float>());
  else if (wgrad)
    add_rows(ctx, o.beta, computed, target);
  else
    copy_rows(ctx, computed, target);
}

void run(Context& ctx, const ConvKey& key, const Operands& o, Tensor& out) {
  Cudnn& cudnn = ctx.state<State>().cudnn();
  const ConvPlan* plan = cudnn.find(key);
  if (!plan) {
    // Candidates may write the output, because it is computed again afterwards, but they must not add to it.
    Tensor spare = key.kind == ConvKind::wgrad ? Tensor(out.shape(), out.dtype(), out.device()) : out;
    plan = &cudnn.choose(ctx, key, [&](const ConvPlan& candidate) { execute(ctx, key, candidate, o, spare); });
  }
  execute(ctx, key, *plan, o, out);
}

ConvKey key_of(Context& ctx, ConvKind kind, const ConvParams& p, const Tensor& x, const Tensor& w, const Tensor& y) {
  const Shape &in = x.shape(), &window = w.shape(), &result = y.shape();
  COSS_ASSERT(!p.depthwise && in.rank == 4 && window.rank == 4 && result.rank == 4 && x.dtype() == y.dtype());
  const ConvKey key{.kind = kind,
                    .n = in[0],
                    .h = in[1],
                    .w = in[2],
                    .c = in[3],
                    .k = window[0],
                    .r = window[1],
                    .s = window[2],
                    .params = p,
                    .dtype = x.dtype(),
                    .tf32 = x.dtype() == DType::f32 && ctx.allow_tf32()};
  COSS_ASSERT(window[3] * p.groups == key.c && result == Shape({key.n, key.p(), key.q(), key.k}));
  return key;
}

}  // namespace

void dense_forward(Context& ctx, const ConvParams& p, const Tensor& x, const Tensor& w, Tensor& y) {
  const ConvKey key = key_of(ctx, ConvKind::forward, p, x, w, y);
  COSS_ASSERT(w.dtype() == x.dtype());
  if (y.numel() > 0) run(ctx, key, {x, w}, y);
}

void dense_bias_act(Context& ctx, const ConvParams& p, Activation activation, const Tensor& x, const Tensor& w,
                    const Tensor& bias, const Tensor& residual, Tensor& y) {
  ConvKey key = key_of(ctx, ConvKind::bias_act, p, x, w, y);
  key.activation = activation;
  key.residual = !residual.empty();
  COSS_ASSERT(w.dtype() == x.dtype() && bias.dtype() == DType::f32 && bias.numel() == key.k);
  COSS_ASSERT(!key.residual || (residual.dtype() == y.dtype() && residual.shape() == y.shape()));
  if (y.numel() > 0) run(ctx, key, {x, w, &bias, key.residual ? &residual : nullptr}, y);
}

void dense_dgrad(Context& ctx, const ConvParams& p, const Tensor& w, const Tensor& dy, Tensor& dx) {
  const ConvKey key = key_of(ctx, ConvKind::dgrad, p, dx, w, dy);
  COSS_ASSERT(w.dtype() == dy.dtype());
  if (dx.numel() > 0) run(ctx, key, {dy, w}, dx);
}

void dense_wgrad(Context& ctx, const ConvParams& p, const Tensor& x, const Tensor& dy, float beta, Tensor& dw) {
  const ConvKey key = key_of(ctx, ConvKind::wgrad, p, x, dw, dy);
  COSS_ASSERT(dw.dtype() == DType::f32);
  if (dw.numel() == 0) return;
  if (dy.numel() == 0) return add_rows(ctx, beta, Rows(), rows_of(dw.mutable_raw(), dw));
  run(ctx, key, {dy, x, nullptr, nullptr, beta}, dw);
}

}  // namespace coss::cuda
