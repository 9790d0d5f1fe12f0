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
// f16 -> f32, for a loss: its gradients, before the loss scale, are below what f16 holds. Other dtypes stay as they
// are.
Var widened(const Var& x);

// x (N,I), w (O,I), bias (O) or empty -> (N,O)
Var linear(const Var& x, const Var& w, const Var& bias);

// x (N,H,W,C), w (K,R,S,C/groups) or depthwise (R,S,C) -> (N,P,Q,K)
Var conv2d(const ConvParams& p, const Var& x, const Var& w);
// Frozen: act(conv + bias + residual); records nothing. residual may be empty.
Tensor conv2d_bias_act(const ConvParams& p, Activation act, const Tensor& x, const Tensor& w, const Tensor& bias,
                       const Tensor& residual);

// Training batch norm + add + activation over the last axis of x; residual may be empty. running_* are updated.
Var norm_act(const NormParams& p, const Var& x, const Var& gamma, const Var& beta, const Var& residual,
             Tensor& running_mean, Tensor& running_var);

Var max_pool(const PoolParams& p, const Var& x);                 // (N,H,W,C) -> (N,P,Q,C)
Var mean_hw(const Var& x);                                       // (N,H,W,C) -> (N,C)
Var shortcut_a(int64_t stride, int64_t channels, const Var& x);  // (N,H,W,C) -> (N,ceil(H/stride),…,channels)

// Mean cross-entropy over rows; labels (N) i32, negative ones are skipped. -> (1) in accumulator dtype
Var cross_entropy(const Var& logits, const Tensor& labels);

}  // namespace coss
