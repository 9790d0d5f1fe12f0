// Optimizers, moving average, clipping and meters of the reference backend.
#include "tests/reference/access.h"

namespace coss::reference {

namespace {

// The gradient after loss scale, accumulation and clipping.
double scaled(const Tensor& scalars, const Tensor& grad, int64_t i) { return in(scalars)[kGradScale] * in(grad)[i]; }

bool skipped(const Tensor& scalars, Tensor& grad) {
  if (in(scalars)[kSkip] == 0) return false;
  std::fill_n(out(grad), grad.numel(), 0.0);
  return true;
}

void finish(Tensor& grad, const Tensor& weight, Tensor& compute) {
  std::fill_n(out(grad), grad.numel(), 0.0);
  if (!compute.empty()) std::copy_n(in(weight), weight.numel(), out(compute));
}

double norm(const double* values, int64_t count) {
  double squares = 0;
  for (int64_t i = 0; i < count; ++i) squares += values[i] * values[i];
  return std::sqrt(squares);
}

}  // namespace

void sgd_step(Context&, const SgdParams& p, const Tensor& scalars, Tensor& grad, Tensor& momentum, Tensor& weight,
              Tensor& compute) {
  if (skipped(scalars, grad)) return;
  for (int64_t i = 0; i < weight.numel(); ++i) {
    const double g = scaled(scalars, grad, i) + double(p.weight_decay) * in(weight)[i];
    double& velocity = out(momentum)[i];
    velocity = double(p.momentum) * velocity + g;
    out(weight)[i] -= in(scalars)[kLearningRate] * (p.nesterov ? g + double(p.momentum) * velocity : velocity);
  }
  finish(grad, weight, compute);
}

void adamw_step(Context&, const AdamwParams& p, const Tensor& scalars, Tensor& grad, Tensor& m, Tensor& v,
                Tensor& weight, Tensor& compute) {
  if (skipped(scalars, grad)) return;
  const double rate = in(scalars)[kLearningRate], step = in(scalars)[kStep];
  const double beta1 = double(p.beta1), beta2 = double(p.beta2);
  for (int64_t i = 0; i < weight.numel(); ++i) {
    const double g = scaled(scalars, grad, i);
    out(m)[i] = beta1 * in(m)[i] + (1 - beta1) * g;
    out(v)[i] = beta2 * in(v)[i] + (1 - beta2) * g * g;
    const double first = in(m)[i] / (1 - std::pow(beta1, step)), second = in(v)[i] / (1 - std::pow(beta2, step));
    out(weight)[i] -= rate * (double(p.weight_decay) * in(weight)[i] + first / (std::sqrt(second) + double(p.eps)));
  }
  finish(grad, weight, compute);
}

void lars_step(Context&, const LarsParams& p, const Tensor& scalars, const Tensor& offsets, Tensor& grad,
               Tensor& momentum, Tensor& weight, Tensor& compute) {
  if (skipped(scalars, grad)) return;
  const int64_t* first = offsets.data<int64_t>();
  const double decay = double(p.weight_decay);
  for (int64_t t = 0; t + 1 < offsets.numel(); ++t) {
    const int64_t count = first[t + 1] - first[t];
    const double w = norm(in(weight) + first[t], count);
    const double g = std::abs(in(scalars)[kGradScale]) * norm(in(grad) + first[t], count);
    const bool adapted = p.adapt && w > 0 && g > 0;
    const double ratio = adapted ? double(p.trust) * w / (g + decay * w + double(p.eps)) : 1;
    for (int64_t i = first[t]; i < first[t + 1]; ++i) {
      const double update = ratio * (scaled(scalars, grad, i) + decay * in(weight)[i]);
      out(momentum)[i] = double(p.momentum) * in(momentum)[i] + update;
      out(weight)[i] -= in(scalars)[kLearningRate] * in(momentum)[i];
    }
  }
  finish(grad, weight, compute);
}

void ema_step(Context&, float decay, const Tensor& weight, Tensor& average) {
  for (int64_t i = 0; i < weight.numel(); ++i) {
    out(average)[i] = double(decay) * in(average)[i] + (1 - double(decay)) * in(weight)[i];
  }
}

void clip_scale(Context&, float max_norm, const Tensor& square_sum, Tensor& scalars) {
  const double length = std::sqrt(in(square_sum)[0]) * in(scalars)[kGradScale];
  if (length > double(max_norm)) out(scalars)[kGradScale] *= double(max_norm) / length;
}

// The division comes first, because this step's gradients were made with the old scale.
void update_loss_scale(Context&, const LossScaleParams& p, const Tensor& square_sum, Tensor& scaler, Tensor& scalars) {
  double &scale = out(scaler)[0], &updates = out(scaler)[1];
  const bool finite = std::isfinite(in(square_sum)[0]);
  out(scalars)[kGradScale] /= scale;
  out(scalars)[kSkip] = finite ? 0 : 1;
  updates = finite ? updates + 1 : 0;
  if (!finite) {
    scale = std::max(scale * double(p.backoff), 1.0);
  } else if (updates >= double(p.interval)) {
    // The largest scale is as in the other backends, which store it in f32.
    if (std::isfinite(float(scale * double(p.growth)))) scale *= double(p.growth);
    updates = 0;
  }
}

void meter_add(Context&, const Tensor& step, const Tensor& terms, Tensor& sums) {
  bool finite = true;
  for (int64_t t = 0; t < terms.numel(); ++t) {
    out(sums)[t] += in(terms)[t];
    finite = finite && std::isfinite(in(terms)[t]);
  }
  double& first_bad = out(sums)[terms.numel()];
  if (!finite && first_bad < 0) first_bad = double(step.data<int64_t>()[0]);
}

}  // namespace coss::reference
