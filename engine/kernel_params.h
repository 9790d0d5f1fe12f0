// The parameter structs of the kernels: more than three numbers of one kind have names and defaults here.
#pragma once
#include <algorithm>
#include <cstdint>

#include "engine/types.h"

namespace coss {

// A vector that is shorter than this is divided by this instead of its length.
constexpr double kSmallestNorm = 1e-12;

// hardsigmoid(x) = relu6(x + 3) / 6, hardswish(x) = x hardsigmoid(x), silu(x) = x sigmoid(x), gelu(x) = x Phi(x) with
// the error function, quick_gelu(x) = x sigmoid(1.702 x), which CLIP has.
enum class Activation : uint8_t { none, relu, relu6, silu, hardswish, sigmoid, hardsigmoid, gelu, quick_gelu };

// True for activations whose gradient is passed on or blocked per element, so that one bit of a mask describes it.
constexpr bool clips(Activation kind) { return kind <= Activation::relu6; }

// 2-d convolution, cross-correlation as in every deep-learning library. Dense: w (K,R,S,C/groups). Depthwise
// (depthwise == true): w (R,S,C), one filter per channel, groups is ignored.
struct ConvParams {
  int64_t stride = 1, pad = 0, dilation = 1, groups = 1;
  bool depthwise = false;
  // TensorFlow's SAME instead of `pad`: zeros that make the output in / stride long, an odd one at the end.
  bool same = false;
  bool operator==(const ConvParams&) const = default;
  int64_t out_size(int64_t in, int64_t window) const {
    return same ? (in + stride - 1) / stride : (in + 2 * pad - dilation * (window - 1) - 1) / stride + 1;
  }
  int64_t pad_before(int64_t in, int64_t window) const { return same ? same_padding(in, window) / 2 : pad; }
  int64_t pad_behind(int64_t in, int64_t window) const {
    return same ? same_padding(in, window) - pad_before(in, window) : pad;
  }

 private:
  int64_t same_padding(int64_t in, int64_t window) const {
    return std::max<int64_t>((out_size(in, window) - 1) * stride + dilation * (window - 1) + 1 - in, 0);
  }
};

// y = act(op(a) * op(b) + bias) + beta * y; op is the transpose where the flag is set.
struct MatmulParams {
  bool transpose_a = false, transpose_b = false;
  float beta = 0;                            // 0 or 1
  Activation activation = Activation::none;  // only with beta == 0; one that clips, gelu or quick_gelu
  bool operator==(const MatmulParams&) const = default;
};

struct NormParams {
  float eps = 1e-5f;
  float momentum = 0.1f;                     // running = (1 - momentum) * running + momentum * batch
  Activation activation = Activation::none;  // one that clips, silu or hardswish
};

// softmax(q k^T / sqrt(D / heads)) v per head, D = heads * (channels of one).
struct AttentionParams {
  int64_t heads = 1;
  int64_t queries = 0;  // only this many first tokens are queries; 0: all
};

// Which columns of one matrix are copied to which of another: column to + i * to_stride becomes from + i * from_stride,
// for i < count.
struct ColumnMap {
  int64_t from = 0, from_stride = 1, to = 0, to_stride = 1, count = 0;
};

struct PoolParams {
  int64_t window = 3, stride = 2, pad = 1;
  bool ceil = false;  // a last window that reaches outside counts too if it begins inside; only for max pooling
  int64_t out_size(int64_t in) const {
    const int64_t room = in + 2 * pad - window, whole = room / stride + 1;
    return whole + int64_t(ceil && room % stride > 0 && whole * stride < in + pad);
  }
};

// loss = scale * (row_weight * L_co + column_weight * L_ss): CoSS (ECCV 2024, arXiv 2409.13939).
struct CossParams {
  float scale = 1, row_weight = 1, column_weight = 1;
};

// weight * mean over rows of one of these: cross_entropy is H(p_t, p_s); divergence is KL(p_t, p_s) = H(p_t, p_s) -
// H(p_t); symmetric is the mean of KL(p_t, p_s) and KL(p_s, p_t).
struct SoftCrossEntropyParams {
  enum Kind : uint8_t { cross_entropy, divergence, symmetric } kind = cross_entropy;
  float student_temperature = 1, teacher_temperature = 1, weight = 1;
};
// total = target_weight * TCKD + other_weight * NCKD, both times temperature^2.
struct DkdParams {
  float target_weight = 1, other_weight = 8, temperature = 4;
};
struct RkdParams {
  float distance_weight = 25, angle_weight = 50;
};
struct EgaParams {
  float node_weight = 0.8f, edge_weight = 0.24f;
};
struct QueueContrastParams {
  float student_temperature = 0.2f, teacher_temperature = 0.01f;
  bool divergence = false;
};
struct BankContrastParams {
  int64_t negatives = 16384;
  float temperature = 0.07f;
  bool relaxed = false;  // the positive is any image of the row's class, not the row itself
  uint64_t seed = 0;
};
struct CutmixParams {
  float alpha = 2;
  uint64_t seed = 0;
};

// Values of each step that the optimizer kernels read from the device, so that one recorded step serves a whole
// schedule. They are an f32 tensor of kScalarCount elements.
enum Scalar : int {
  kLearningRate,
  kGradScale,  // multiplies every gradient: 1 / accumulation steps, then clipping, then 1 / loss scale
  kStep,       // 1 for the first update (AdamW's bias correction)
  kSkip,       // not zero: the gradient overflowed, and the optimizers only zero it
  kScalarCount = 8
};

// Dynamic loss scaling (Micikevicius et al., "Mixed precision training", ICLR 2018).
struct LossScaleParams {
  float growth = 2, backoff = 0.5f;
  float interval = 2000;  // updates in a row without overflow before the scale grows
};

struct SgdParams {
  float momentum = 0.9f, weight_decay = 0;
  bool nesterov = false;
};
struct AdamwParams {
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f, weight_decay = 0;
};
struct LarsParams {
  float momentum = 0.9f, weight_decay = 0, trust = 0.001f, eps = 1e-8f;
  bool adapt = true;  // false: plain momentum SGD (biases and norm parameters)
};

// How one output image is made from decoded pixels; a batch is an array of these. Operations run in the order
// resize -> window -> [gray first] -> jitter -> gray -> blur -> solarize -> flip -> normalize, as torchvision's recipes
// do.
struct ImageParams {
  int64_t offset = 0;  // first byte of the source in the pixel buffer, u8 RGB (H,W,3), rows packed
  int32_t source_h = 0, source_w = 0;
  int32_t resize_h = 0, resize_w = 0;  // size the whole source is resized to (Pillow's antialiased filter)
  int32_t window_y = 0, window_x = 0;  // first row and column of the output in the resized image; may be negative:
                                       // what lies outside is black (zero before normalization)
  uint8_t bicubic = 0;                 // else bilinear
  uint8_t flip = 0;                    // left-right
  uint8_t jitter = 0;                  // apply the four jitter operations below in the order given
  uint8_t order[4] = {0, 1, 2, 3};     // 0 brightness, 1 contrast, 2 saturation, 3 hue; as ColorJitter permutes them
  uint8_t gray = 0;                    // 0 none, 1 after jitter (MoCo v2), 2 before (MoCo v1, SimCLR)
  float brightness = 1, contrast = 1, saturation = 1;  // factors as torchvision draws them
  float hue = 0;                                       // [-0.5, 0.5]
  float blur_sigma = 0;                                // 0: none; Gaussian of `blur_window` taps, reflected borders
  int32_t blur_window = 23;
  uint8_t solarize = 0;  // levels of 128 and more are inverted
};

// value = (pixel / 255 - mean[c]) / stddev[c]
struct Normalization {
  float mean[3] = {0.485f, 0.456f, 0.406f};
  float stddev[3] = {0.229f, 0.224f, 0.225f};
  bool operator==(const Normalization&) const = default;
};

struct DropoutParams {
  float rate = 0;
  uint64_t seed = 0;
  uint32_t layer = 0;  // tells the dropouts of one network apart
  int64_t group =
      1;  // this many consecutive elements share a draw: those of one image for drop path (stochastic depth)
};

// Each of the k nearest neighbors votes for its label with the weight exp(similarity / temperature).
struct KnnVoteParams {
  int64_t k = 20;
  int64_t classes = 10;
  float temperature = 0.07f;
};

}  // namespace coss
