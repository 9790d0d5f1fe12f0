// The differentiable operations. Each checks shapes in words, allocates its output, calls one kernel and records the
// lambda that is its backward. The dtype of an output is its input's unless said otherwise; norm parameters and biases
// are in accumulator_of(that dtype). Throws Error on a wrong shape or dtype.
#pragma once
#include "autograd/autograd.h"

namespace coss {

Var add(const Var& a, const Var& b);  // same shapes
Var activation(Activation kind, const Var& x);
inline Var relu(const Var& x) { return activation(Activation::relu, x); }
Var dropout(const DropoutParams& p, const Tensor& step, const Var& x);  // step: i64 (1)
Var scale(const Var& x, float factor);
// f16 -> f32, for losses: their gradients are too small for f16 before the loss scale is applied. Other dtypes stay.
Var widened(const Var& x);

// Drops whole images (rows of the first axis) at random, with DropoutParams::rate: stochastic depth (arXiv 1603.09382).
Var drop_path(DropoutParams p, const Tensor& step, const Var& x);
// x (…,D) -> x / max(|x|, eps) over the last axis
Var normalize_rows(float eps, const Var& x);

// act(x w^T + bias): x (…,I), w (O,I), bias (O) or empty -> (…,O). One pass where no gradient is wanted.
Var linear(const Var& x, const Var& w, const Var& bias, Activation act = Activation::none);

// x (N,H,W,C), w (K,R,S,C/groups) or depthwise (R,S,C), bias (K) or empty -> (N,P,Q,K)
Var conv2d(const ConvParams& p, const Var& x, const Var& w, const Var& bias = {});
// For frozen networks: act(conv + bias + residual); records nothing. residual may be empty.
Tensor conv2d_bias_act(const ConvParams& p, Activation act, const Tensor& x, const Tensor& w, const Tensor& bias,
                       const Tensor& residual);

// Training batch norm + add + activation over the last axis of x; residual may be empty. running_* are updated.
Var norm_act(const NormParams& p, const Var& x, const Var& gamma, const Var& beta, const Var& residual,
             Tensor& running_mean, Tensor& running_var);

Var max_pool(const PoolParams& p, const Var& x);                 // (N,H,W,C) -> (N,P,Q,C)
Var avg_pool(const PoolParams& p, const Var& x);                 // padding counts as zeros
Var mean_hw(const Var& x);                                       // (N,H,W,C) -> (N,C)
Var shortcut_a(int64_t stride, int64_t channels, const Var& x);  // (N,H,W,C) -> (N,ceil(H/stride),…,channels)

Var scale_channels(const Var& x, const Var& s);                  // (N,H,W,C) * (N,C)
Var slice_channels(const Var& x, int64_t first, int64_t count);  // (…,C) -> (…,count)
Var concat_channels(const std::vector<Var>& parts);              // (…,C1), (…,C2), … -> (…,C1 + C2 + …)
// As PyTorch's ChannelShuffle: channel i of group g becomes channel i * groups + g.
Var shuffle_channels(const Var& x, int64_t groups);

Var layer_norm(float eps, const Var& x, const Var& gamma, const Var& beta);  // over the last axis
Var attention(const AttentionParams& p, const Var& qkv);                     // (N,T,3D) -> (N,Q,D)
Var patches(int64_t size, const Var& x);                                     // (N,H,W,C) -> (N,T,size*size*C)
// [first, x] + position; first (D) or (N,D) or empty, x (N,T,D), position (tokens of the result, D)
Var join_tokens(const Var& first, const Var& x, const Var& position);
Var mean_tokens(int64_t first, int64_t count, const Var& x);  // (N,T,D) -> (N,D)

Var reshape(const Var& x, const Shape& shape);            // the same values in another shape, numel() unchanged
Var rows_of(const Var& x, int64_t first, int64_t count);  // rows first .. first + count - 1 of the first axis

// Matrices, for losses.
Var accumulated(const Var& x);                 // C -> accumulator_of(C)
Var product(const Var& a, const Var& b);       // a (N,D), b (M,D) -> a b^T (N,M)
Var gram(const Var& x);                        // (N,D) -> x x^T (N,N)
Var softmax(float temperature, const Var& x);  // softmax of each row of x / temperature, (R,D)
Var center_rows(const Var& x);                 // (R,D); subtracts its mean from each row
Var transpose(const Var& x);                   // (R,D) -> (D,R)
Var stack_rows(const Var& a, const Var& b);    // (N,D), (M,D) -> (N+M,D)

// Mean cross-entropy over rows; labels (N) i32, negative ones are skipped. -> (1) in accumulator dtype
Var cross_entropy(const Var& logits, const Tensor& labels);

}  // namespace coss
