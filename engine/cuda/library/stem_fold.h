// The first convolution of a network, on 3 channels at stride 2, rewritten as one at stride 1 on 16 channels: each 2x2
// block of pixels becomes one, with its four pixels, padded to 4 channels, side by side. Tensor cores need multiples of
// 8 channels, and cuDNN pads 3 to 8 under every tap of the window. A 7x7 window then costs 392 products per output, the
// folded one 256, and the copy that it reads is half as large. The sums are the same.
//
// Output p takes the input rows 2 p - pad + t, t in [0, r), pad being the padding above. With front = pad mod 2 and
// lead = (pad + front) / 2 these are the rows a = 0, 1 of the blocks p + T - lead, where 2 T + a = t + front. The
// folded image begins at block -lead, so that the convolution needs no padding; taps that do not exist are zero.
// Columns are treated alike.
#pragma once
#include "engine/context.h"
#include "engine/cuda/library/conv_key.h"

namespace coss::cuda {

// Unfolded tensors have the shapes of `key`, folded ones those of key.folded(). All have the key's dtype, but window
// gradients are f32. Addresses of folded tensors are multiples of 16.
void fold_image(Context& ctx, const ConvKey& key, const void* x, void* folded);
void fold_window(Context& ctx, const ConvKey& key, const void* w, void* folded);
// dw = beta * dw + the gradient of the folded window.
void unfold_window(Context& ctx, const ConvKey& key, float beta, const float* folded, float* dw);

}  // namespace coss::cuda
