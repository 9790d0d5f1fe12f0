// The straight line of a training step: upload, augment, forward, backward, optimizer.
#include "tools/step.h"

#include <algorithm>
#include <cmath>

#include "engine/trace.h"
#include "layers/grad_norm.h"

namespace coss {

Step::Step(Method& method, Params& params, Optimizer& optimizer, const StepOptions& options)
    : method_(method), params_(params), optimizer_(optimizer), options_(options) {
  const DType accumulator = accumulator_of(options.dtype);
  const int64_t terms = int64_t(method.term_names().size());
  inputs_.step = Tensor({1}, DType::i64, options.device);
  scalars_ = Tensor({kScalarCount}, DType::f32, options.device);
  square_sum_ = Tensor({1}, accumulator, options.device);
  sums_ = Tensor({terms + 1}, DType::f64, options.device);
  kernels(options.device).fill(context(options.device), 0, square_sum_);
  if (options.ema_decay > 0) ema_ = std::make_unique<Ema>(params, float(options.ema_decay));
  count_update(0);
  read();
}

void Step::run(const Batch& batch) {
  upload(batch);
  compute();
}

void Step::upload(const Batch& batch) {
  const TraceSpan span("upload");
  Context& ctx = context(options_.device);
  const Kernels& k = kernels(options_.device);
  const int64_t n = int64_t(batch.indices.size()), bytes = int64_t(batch.pixels.size());
  if (pixels_.numel() < bytes) pixels_ = Tensor({bytes + bytes / 4}, DType::u8, options_.device);
  if (inputs_.labels.numel() != n) {
    inputs_.labels = Tensor({n}, DType::i32, options_.device);
    image_params_ = Tensor({n * int64_t(sizeof(ImageParams))}, DType::u8, options_.device);
    inputs_.images = Tensor({n, options_.image_size, options_.image_size, 3}, options_.dtype, options_.device);
  }
  Tensor pixels = pixels_.view(0, {bytes});
  k.upload(ctx, batch.pixels.data(), pixels);
  k.upload(ctx, batch.params.data(), image_params_);
  k.upload(ctx, batch.labels.data(), inputs_.labels);
  k.augment_images(ctx, options_.normalisation, image_params_, pixels, inputs_.images);
}

void Step::compute() {
  const TraceSpan span("forward and backward");
  Tape tape;
  const LossTerms terms = method_.forward(inputs_);
  tape.backward(terms.total);
  kernels(options_.device).meter_add(context(options_.device), inputs_.step, terms.values, sums_);
  ++batches_;
}

void Step::update(double learning_rate) {
  const TraceSpan span("update");
  Context& ctx = context(options_.device);
  const Kernels& k = kernels(options_.device);
  std::vector<float> scalars(kScalarCount, 0.0f);
  scalars[kLearningRate] = float(learning_rate);
  scalars[kGradScale] = 1.0f / float(options_.accumulate);
  scalars[kStep] = float(updates_ + 1);
  k.upload(ctx, scalars.data(), scalars_);
  if (options_.clip_norm > 0)
    clip_gradients(params_, float(options_.clip_norm), square_sum_, scalars_);
  else
    grad_square_sum(params_, square_sum_);
  optimizer_.step(params_, scalars_);
  if (ema_) ema_->step(params_);
  count_update(updates_ + 1);
}

void Step::count_update(int64_t updates) {
  updates_ = updates;
  params_.batches_tracked = updates * options_.accumulate;
  kernels(options_.device).upload(context(options_.device), &updates, inputs_.step);
}

void Step::restore(int64_t updates, int64_t batches_since_read) {
  count_update(updates);
  batches_ = batches_since_read;
}

StepMeans Step::read() {
  std::vector<double> sums = sums_.to_vector<double>();
  StepMeans means;
  sums.pop_back();
  for (double sum : sums) means.terms.push_back(sum / double(std::max<int64_t>(batches_, 1)));
  means.gradient_norm = std::sqrt(square_sum_.item()) / double(options_.accumulate);

  std::fill(sums.begin(), sums.end(), 0.0);
  sums.push_back(-1);
  kernels(options_.device).upload(context(options_.device), sums.data(), sums_);
  batches_ = 0;
  return means;
}

int64_t Step::first_bad_step() const { return int64_t(sums_.to_vector<double>().back()); }

std::vector<StateTensor> Step::state() const {
  std::vector<StateTensor> state;
  for (const StateTensor& part : optimizer_.state()) state.push_back({"optimizer." + part.name, part.tensor});
  if (ema_)
    for (const StateTensor& part : ema_->state()) state.push_back({"ema." + part.name, part.tensor});
  state.push_back({"meters", sums_});
  return state;
}

}  // namespace coss
