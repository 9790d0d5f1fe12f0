// FT: factors and their distance, the paraphraser's and the student's part.
#include "losses/ft.h"

#include <algorithm>

#include "autograd/ops.h"
#include "losses/fitnet.h"
#include "losses/frame/fused.h"
#include "losses/frame/heads.h"

namespace coss {
namespace {

constexpr uint64_t kSeedOfParaphraser = 0x6674;  // other first values than the student's

// LeakyReLU of slope 0.1.
Var leaky_relu(const Var& x) { return add(scale(x, 0.1f), scale(relu(x), 0.9f)); }

Var unit_factor(bool whole, const Var& x) {
  const int64_t images = x.shape()[0], places = x.shape()[1] * x.shape()[2], channels = x.shape()[3];
  if (whole) return normalize_rows(kSmallestNorm, reshape(x, {images, places * channels}));
  const Var squares =
      scale_channels(reshape(x, {images * places, 1, 1, channels}), reshape(x, {images * places, channels}));
  Tensor share({1, channels}, x.value.dtype(), x.value.device());
  kernels(share).fill(context(share.device()), 1.0 / double(channels), share);
  const Var means = linear(reshape(squares, {images * places, channels}), Var(share), {});
  return normalize_rows(kSmallestNorm, reshape(means, {images, places}));
}

std::vector<std::unique_ptr<Conv>> convolutions(const Scope& scope, const std::vector<int64_t>& widths) {
  std::vector<std::unique_ptr<Conv>> made;
  for (size_t i = 0; i + 1 < widths.size(); ++i)
    made.push_back(std::make_unique<Conv>(
        scope, std::to_string(i),
        ConvOptions{.in = widths[i], .out = widths[i + 1], .window = 3, .conv = {.pad = 1}, .bias = true}));
  return made;
}

Var through(const std::vector<std::unique_ptr<Conv>>& layers, Var x) {
  for (const auto& layer : layers) x = leaky_relu((*layer)(x, Mode::train));
  return x;
}

}  // namespace

LossTerms ft_loss(bool whole, const Var& student, const Tensor& teacher) {
  check_same_places("ft", student.value, teacher);
  if (whole) check_alike("ft", student.value, teacher);
  const Var factor = unit_factor(whole, student);
  Tensor target;
  {
    const NoGrad guard;
    target = unit_factor(whole, Var(teacher)).value;
  }
  return fused_loss(factor, 1, [&](Tensor& loss, Tensor& dfactor) {
    kernels(loss).l1_loss(context(loss.device()), factor.value, target, loss, dfactor);
  });
}

FtMethod::FtMethod(const MethodOptions& options, const MethodParts& parts)
    : MapMethod("factor", options, parts),
      whole_(options["whole_factor"] != 0),
      teacher_updates_(options.whole("teacher_epochs") * parts.steps_per_epoch) {
  const std::vector<Shape> student = stage_shapes(parts.twin, parts.image_size);
  const std::vector<Shape> teacher = stage_shapes(parts.teacher_twin, parts.image_size);
  const auto matching = matching_stages("ft", student, teacher);
  COSS_CHECK(matching.back() == std::make_pair(student.size() - 1, teacher.size() - 1),
             "the method ft compares the last stages, and their sizes do not fit: the student's is " +
                 student.back().str() + ", the teacher's " + teacher.back().str());
  COSS_CHECK(options["rate"] > 0 && options["rate"] <= 1, "method.rate must be above 0 and at most 1");
  COSS_CHECK(options["teacher_epochs"] >= 0, "method.teacher_epochs must not be negative");
  const int64_t in = student.back().back(), out = teacher.back().back();
  const int64_t width = std::max<int64_t>(1, int64_t(double(out) * options["rate"]));
  const Scope paraphraser = Scope(params_) / "paraphraser";
  encoder_ = convolutions(paraphraser / "encoder", {out, out, width, width});
  decoder_ = convolutions(paraphraser / "decoder", {width, width, out, out});
  const Scope translator = parts.scope / "translator";
  const int64_t widths[] = {in, in, width, width};
  for (int i = 0; i < 3; ++i)
    translator_.push_back(std::make_unique<ConvNorm>(translator, "conv" + std::to_string(i + 1),
                                                     "bn" + std::to_string(i + 1),
                                                     same_conv(widths[i], widths[i + 1], 3, 1, Activation::none)));
}

void FtMethod::prepare(Device device, DType compute, uint64_t seed) {
  params_.allocate(device, compute, seed ^ kSeedOfParaphraser);
}

std::vector<std::string> FtMethod::term_names() const {
  std::vector<std::string> names = MapMethod::term_names();
  names.push_back("reconstruction");
  return names;
}

Var FtMethod::distance(const Seen& seen) {
  Var factor = seen.student_stages.back(), target;
  {
    const NoGrad guard;
    target = through(encoder_, seen.teacher_stages.back());
  }
  for (const auto& layer : translator_) factor = leaky_relu((*layer)(factor, Mode::train));
  const MapPair pair = of_one_size(factor, target);
  return ft_loss(whole_, accumulated(pair.student), accumulated(pair.teacher).value).total;
}

Var FtMethod::reconstruction(const StepInputs& inputs) {
  std::vector<Var> stages;
  frozen_features(teacher_, inputs.views[0], &stages);
  const Var made = through(decoder_, through(encoder_, stages.back()));
  return mse_loss(widened(made), widened(stages.back()).value).total;
}

// What the phase does not have is 0.
LossTerms FtMethod::forward(const StepInputs& inputs) {
  const bool first_phase = learner_ == Learner::companion;
  LossTerms terms;
  if (first_phase)
    terms.total = reconstruction(inputs);
  else
    terms = MapMethod::forward(inputs);
  const int64_t count = int64_t(term_names().size());
  const Device device = terms.total.value.device();
  const Kernels& k = kernels(device);
  Context& ctx = context(device);
  Tensor values({count}, terms.total.value.dtype(), device);
  k.fill(ctx, 0, values);
  Tensor known = values.view(0, {first_phase ? 1 : count - 1}), last = values.view(count - 1, {1});
  k.cast(ctx, first_phase ? terms.total.value : terms.values, known);
  if (first_phase) k.cast(ctx, terms.total.value, last);
  terms.values = values;
  return terms;
}

}  // namespace coss
