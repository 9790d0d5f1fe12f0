// The first convolution of a network, on 3 channels at stride 2, rewritten as one at stride 1 on 16 channels: each 2x2
// block of pixels becomes one, with its four pixels, padded to 4 channels, side by side. Tensor cores want channels in
// multiples of 8, and cuDNN pads 3 to them under every tap of the window: a 7x7 window then costs 392 products an
// output, folded 256, and the copy that it reads is half as large. The sums are the same.
//
// Output p takes the input rows 2 p - pad + t, t in [0, r), pad being the padding above. With front = pad mod 2 and
// lead = (pad + front) / 2 these are the rows a = 0, 1 of the blocks p + T - lead, where 2 T + a = t + front. The
// folded image begins at block -lead, so that the convolution needs no padding; taps that do not exist are zero.
// Columns are treated alike.
#pragma once
#include "engine/context.h"
#include "engine/cuda/library/conv_key.h"

namespace coss::cuda {

// Shapes on the left are those of `key`, on the right of key.folded(); of the key's dtype, window gradients f32. The
// addresses on the right are multiples of 16.
void fold_image(Context& ctx, const ConvKey& key, const void* x, void* folded);
void fold_window(Context& ctx, const ConvKey& key, const void* w, void* folded);
// dw = beta * dw + the gradient of the folded window.
void unfold_window(Context& ctx, const ConvKey& key, float beta, const float* folded, float* dw);

}  // namespace coss::cuda
