// Finds out what the processor can do, keeps the memory for fp32 copies, and chooses the size of blocks.
#include "engine/cpu/library/widen.h"

#include "engine/cpu/library/onednn.h"
#include "engine/cpu/parallel.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

bool library_uses(dnnl::cpu_isa isa) {
  static const auto used = unsigned(dnnl::get_effective_cpu_isa());
  return (used & unsigned(isa)) == unsigned(isa);
}

}  // namespace

bool library_computes(DType dtype) { return dtype != DType::bf16 || library_uses(dnnl::cpu_isa::avx512_core); }

bool has_bf16_dot_product() { return library_uses(dnnl::cpu_isa::avx512_core_bf16); }

Tensor wide_tensor(Context& ctx, WidePart part, const Shape& shape) {
  if (ctx.plans_only()) return Tensor(shape, DType::f32, Device::dry);
  Tensor& memory = ctx.state<State>().wide[size_t(part)];
  if (memory.numel() < shape.numel()) {
    memory = {};  // freed before the new memory is taken
    memory = Tensor({shape.numel()}, DType::f32, Device::cpu);
  }
  return memory.view(0, shape);
}

Tensor widened(Context& ctx, WidePart part, const Tensor& x) {
  Tensor wide = wide_tensor(ctx, part, x.shape());
  if (!ctx.plans_only()) cast(ctx, x, wide);
  return wide;
}

void narrow(Context& ctx, const Tensor& wide, Tensor& y) {
  if (!ctx.plans_only()) cast(ctx, wide, y);
}

int64_t rows_per_block(int64_t rows, int64_t row_values, int64_t fixed_values) {
  // A few MB fit a third-level cache, and are enough work for a call of the library.
  constexpr int64_t kBlockValues = 4 << 20;
  const int64_t block = std::max(kBlockValues, 4 * fixed_values) / std::max<int64_t>(row_values, 1);
  return std::clamp<int64_t>(block, std::min<int64_t>(threads(), rows), rows);
}

}  // namespace coss::cpu
