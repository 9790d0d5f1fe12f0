// A training step in its order: upload, augmentation, forward, backward, optimizer.
#include "training/step.h"

#include <algorithm>
#include <cmath>

#include "engine/trace.h"
#include "training/grad_norm.h"

namespace coss {

namespace {

constexpr float kFirstLossScale = 65536;

bool can_record(Device device) {
  DeviceInfo info;
  kernels(device).probe(info);
  return info.records;
}

}  // namespace

Step::Step(Method& method, Params& params, Optimizer& optimizer, const StepOptions& options)
    : method_(method),
      params_(params),
      optimizer_(optimizer),
      options_(options),
      companion_(method.companion()),
      learner_(method.learner(0)),
      records_(options.record && !tracing() && can_record(options.device)),
      memory_(options.device),
      sources_(options.image_sizes.size()) {
  const DType accumulator = accumulator_of(options.dtype);
  const int64_t terms = int64_t(method.term_names().size());
  inputs_.step = Tensor({1}, DType::i64, options.device);
  scalars_ = Tensor({kScalarCount}, DType::f32, options.device);
  square_sum_ = Tensor({1}, accumulator, options.device);
  teacher_squares_ = Tensor({1}, accumulator, options.device);
  teacher_meter_ = Tensor({2}, DType::f64, options.device);
  sums_ = Tensor({terms + 1}, DType::f64, options.device);
  kernels(options.device).fill(context(options.device), 0, square_sum_);
  if (options.dtype == DType::f16) scaler_ = Tensor::from(std::vector<float>{kFirstLossScale, 0}, {2}, options.device);
  if (companion_) {
    COSS_CHECK(options.dtype != DType::f16, "a method that trains layers of the teacher wants dtype=bf16 or fp32");
    OptimizerOptions sgd;
    sgd.weight_decay = float(options.companion_decay);
    companion_optimizer_ = make_optimizer(sgd, *companion_);
    companion_scalars_ = Tensor({kScalarCount}, DType::f32, options.device);
  }
  method_.learn(learner_);
  if (options.ema_decay > 0) ema_ = std::make_unique<Ema>(params, float(options.ema_decay));
  count_update(0);
  start_means();
}

void Step::perform(Half& half, const std::function<void()>& work) {
  constexpr int kAsItStands = 2;
  if (!records_) return work();
  Context& ctx = context(options_.device);
  const Kernels& k = kernels(options_.device);
  if (half.done == 0) ctx.pool().trim();  // gives back the memory of all work before the first step
  const PoolScope scope(ctx, memory_);
  if (half.done < kAsItStands) {
    ++half.done;
    return work();
  }
  if (!half.recording) {
    std::unique_ptr<Recording> recording;
    k.begin_recording(ctx);
    try {
      work();
    } catch (...) {
      k.end_recording(ctx, recording);  // else the device would stay in its recording mode
      throw;
    }
    k.end_recording(ctx, half.recording);
  }
  k.replay(ctx, *half.recording);
}

void Step::run(const Batch& batch) {
  upload(batch);
  perform(forward_, [this] {
    Context& ctx = context(options_.device);
    for (size_t v = 0; v < sources_.size(); ++v)
      kernels(options_.device)
          .augment_images(ctx, options_.normalization, sources_[v].params, sources_[v].pixels, inputs_.views[v]);
    compute();
  });
  ++micro_batches_;
}

void Step::run_on(const Tensor& images) {
  prepare_inputs(images.shape()[0]);
  inputs_.views.assign(sources_.size(), images);
  perform(forward_, [this] { compute(); });
  ++micro_batches_;
}

void Step::rehearse(int64_t images) {
  prepare_inputs(images);
  for (Tensor& view : inputs_.views) kernels(options_.device).fill(context(options_.device), 0, view);
  perform(forward_, [this] { compute(); });
  ++micro_batches_;
  update(0);
}

// A recording uses memory at fixed places. So new memory needs a new recording, and new shapes also need new plans
// first.
void Step::prepare_inputs(int64_t images) {
  if (inputs_.labels.numel() == images) return;
  forward_ = Half{};
  for (Tensor* each : {&inputs_.labels, &inputs_.indices}) {
    *each = Tensor({images}, DType::i32, options_.device);
    kernels(options_.device).fill(context(options_.device), 0, *each);
  }
  inputs_.views.clear();
  for (size_t v = 0; v < sources_.size(); ++v) {
    const int32_t size = options_.image_sizes[v];
    sources_[v].params = Tensor({images * int64_t(sizeof(ImageParams))}, DType::u8, options_.device);
    inputs_.views.emplace_back(Shape{images, size, size, 3}, options_.dtype, options_.device);
  }
}

void Step::upload(const Batch& batch) {
  const TraceSpan span("upload");
  Context& ctx = context(options_.device);
  const Kernels& k = kernels(options_.device);
  COSS_ASSERT(batch.views.size() == sources_.size());
  prepare_inputs(int64_t(batch.indices.size()));
  for (size_t v = 0; v < sources_.size(); ++v) {
    const int64_t bytes = int64_t(batch.views[v].pixels.size());
    Tensor& all = sources_[v].pixels;
    if (all.numel() < bytes) {
      forward_.recording.reset();
      all = Tensor({bytes + bytes / 4}, DType::u8, options_.device);
    }
    Tensor pixels = all.view(0, {bytes});
    k.upload(ctx, batch.views[v].pixels.data(), pixels);
    k.upload(ctx, batch.views[v].params.data(), sources_[v].params);
  }
  k.upload(ctx, batch.labels.data(), inputs_.labels);
  indices_.assign(batch.indices.begin(), batch.indices.end());
  k.upload(ctx, indices_.data(), inputs_.indices);
}

void Step::compute() {
  const TraceSpan span("forward and backward");
  student_features_ = teacher_features_ = {};  // frees their memory for the new ones
  Tape tape;
  const LossTerms terms = method_.forward(inputs_);
  student_features_ = terms.student;
  teacher_features_ = terms.teacher;
  if (scaler_.empty())
    tape.backward(terms.total);
  else
    tape.backward(terms.total, scaler_.view(0, {1}));
  Context& ctx = context(options_.device);
  const Kernels& k = kernels(options_.device);
  k.meter_add(ctx, inputs_.step, terms.values, sums_);
  if (terms.teacher.empty()) return;
  // Not every loss becomes NaN when the teacher's features are: some compare or clamp what they are given.
  k.sum_squares(ctx, 0, terms.teacher, teacher_squares_);
  k.meter_add(ctx, inputs_.step, teacher_squares_, teacher_meter_);
}

void Step::update(double learning_rate) {
  const TraceSpan span("update");
  upload_scalars(learning_rate, learner_ != Learner::companion, scalars_);
  if (companion_) upload_scalars(options_.companion_rate, learner_ != Learner::student, companion_scalars_);
  perform(update_, [this] { apply_gradient(); });
  params_.renew_versions();  // a replay changes values without the tensors' knowledge
  if (companion_) companion_->renew_versions();
  count_update(updates_ + 1);
}

void Step::upload_scalars(double rate, bool learns, Tensor& scalars) {
  std::vector<float> values(kScalarCount, 0.0f);
  values[kLearningRate] = float(rate);
  values[kGradScale] = 1.0f / float(options_.accumulate);
  values[kStep] = float(updates_ + 1);
  values[kSkip] = learns ? 0.0f : 1.0f;
  kernels(options_.device).upload(context(options_.device), values.data(), scalars);
}

void Step::apply_gradient() {
  grad_square_sum(params_, square_sum_);
  Context& ctx = context(options_.device);
  const Kernels& k = kernels(options_.device);
  if (!scaler_.empty()) k.update_loss_scale(ctx, {}, square_sum_, scaler_, scalars_);
  if (options_.clip_norm > 0) k.clip_scale(ctx, float(options_.clip_norm), square_sum_, scalars_);
  optimizer_.step(params_, scalars_);
  if (companion_) companion_optimizer_->step(*companion_, companion_scalars_);
  method_.after_update();
  if (ema_) ema_->step(params_);
}

void Step::count_update(int64_t updates) {
  updates_ = updates;
  params_.batches_tracked = updates * options_.accumulate;
  kernels(options_.device).upload(context(options_.device), &updates, inputs_.step);
  const Learner learner = method_.learner(updates);
  if (learner == learner_) return;
  learner_ = learner;
  method_.learn(learner);
  forward_ = Half{};  // the old recording computes for another learner
}

void Step::restore(int64_t updates, int64_t micro_batches_since_read) {
  if (companion_) companion_->refresh_compute();
  count_update(updates);
  micro_batches_ = micro_batches_since_read;
}

StepMeans Step::read() {
  std::vector<double> sums = sums_.to_vector<double>();
  StepMeans means;
  sums.pop_back();
  for (double sum : sums) means.terms.push_back(sum / double(std::max<int64_t>(micro_batches_, 1)));
  means.gradient_norm = std::sqrt(square_sum_.item()) / double(options_.accumulate) / loss_scale();
  start_means();
  return means;
}

void Step::start_means() {
  // Sums of 0; the last entry is -1: no step whose numbers are not finite.
  for (Tensor* meter : {&sums_, &teacher_meter_}) {
    std::vector<double> fresh(size_t(meter->numel()), 0.0);
    fresh.back() = -1;
    kernels(options_.device).upload(context(options_.device), fresh.data(), *meter);
  }
  micro_batches_ = 0;
}

int64_t Step::first_bad_step() const { return int64_t(sums_.to_vector<double>().back()); }

int64_t Step::first_bad_teacher_step() const { return int64_t(teacher_meter_.to_vector<double>().back()); }

std::vector<StateTensor> Step::state() const {
  std::vector<StateTensor> state;
  for (const StateTensor& part : optimizer_.state()) state.push_back({"optimizer." + part.name, part.tensor});
  if (ema_)
    for (const StateTensor& part : ema_->state()) state.push_back({"ema." + part.name, part.tensor});
  for (const StateTensor& part : method_.state()) state.push_back({"method." + part.name, part.tensor});
  if (companion_) {
    for (const StateTensor& part : companion_optimizer_->state())
      state.push_back({"companion.optimizer." + part.name, part.tensor});
    state.push_back({"companion.weights", companion_->weights().value});
    state.push_back({"companion.rest", companion_->rest().value});
    state.push_back({"companion.stats", companion_->stats()});
  }
  if (!scaler_.empty()) state.push_back({"loss_scale", scaler_});
  state.push_back({"meters", sums_});
  return state;
}

}  // namespace coss
