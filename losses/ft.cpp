// FT: factors and their distance, the options, the method with paraphraser and translator.
#include "losses/ft.h"

#include <algorithm>

#include "autograd/ops.h"
#include "layers/conv.h"
#include "layers/conv_norm.h"
#include "losses/frame/companion.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/heads.h"
#include "losses/frame/map_method.h"

namespace coss {
namespace {

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

namespace {

constexpr uint64_t kSeedOfParaphraser = 0x6674;  // other first values than the student's

struct FtOptions {
  LabeledOptions weights{.weight = 200};
  double rate = 0.5;
  bool whole_factor = false;
  int64_t teacher_epochs = 5;
  CompanionOptions companion = {};

  void list(OptionList& row) {
    weights.list(row, "weight of the distance of the factors");
    row.share("rate", rate, "channels of a factor over those of the teacher's last map");
    row.flag("whole_factor", whole_factor,
             "factors are compared as they are; else their means over channels of squares");
    row.count("teacher_epochs", teacher_epochs, "first epochs, in which the paraphraser learns alone", /*least=*/0);
    companion.list(row, "the paraphraser");
  }
};

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

class FtMethod : public MapMethod {
 public:
  FtMethod(const FtOptions& options, const MethodParts& parts)
      : MapMethod("factor", options.weights, parts),
        whole_(options.whole_factor),
        teacher_updates_(options.teacher_epochs * parts.steps_per_epoch) {
    const std::vector<Shape> student = stage_shapes(parts.twin, parts.image_size);
    const std::vector<Shape> teacher = stage_shapes(parts.teacher_twin, parts.image_size);
    const auto matching = matching_stages("ft", student, teacher);
    COSS_CHECK(matching.back() == std::make_pair(student.size() - 1, teacher.size() - 1),
               "the method ft compares the last stages, and their sizes do not fit: the student's is " +
                   student.back().str() + ", the teacher's " + teacher.back().str());
    const int64_t in = student.back().back(), out = teacher.back().back();
    const int64_t width = std::max<int64_t>(1, int64_t(double(out) * options.rate));
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

  // The terms of the phase that does not run are 0.
  LossTerms forward(const StepInputs& inputs) override {
    const bool first_phase = learner_ == Learner::companion;
    const LossTerms own = first_phase ? reconstruction(inputs) : MapMethod::forward(inputs);
    const int64_t count = int64_t(term_names().size());
    Tensor values({count}, own.total.value.dtype(), own.total.value.device());
    const Kernels& k = kernels(values);
    Context& ctx = context(values.device());
    k.fill(ctx, 0, values);
    Tensor known = values.view(0, own.values.shape());
    k.cast(ctx, own.values, known);
    Tensor last = values.view(count - 1, {1});
    if (first_phase) k.cast(ctx, own.values, last);
    return {own.total, values, own.student, own.teacher};
  }
  std::vector<std::string> term_names() const override {
    std::vector<std::string> names = MapMethod::term_names();
    names.push_back("reconstruction");
    return names;
  }
  void prepare(Device device, DType compute, uint64_t seed) override {
    params_.allocate(device, compute, seed ^ kSeedOfParaphraser);
  }
  Params* companion() override { return &params_; }
  Learner learner(int64_t updates) override {
    return updates < teacher_updates_ ? Learner::companion : Learner::student;
  }
  void learn(Learner who) override { learner_ = who; }

 private:
  Var distance(const Seen& seen) override {
    Var factor = seen.student_stages.back(), target;
    {
      const NoGrad guard;
      target = through(encoder_, seen.teacher_stages.back());
    }
    for (const auto& layer : translator_) factor = leaky_relu((*layer)(factor, Mode::train));
    const MapPair pair = of_one_size(factor, target);
    return ft_loss(whole_, accumulated(pair.student), accumulated(pair.teacher).value).total;
  }

  LossTerms reconstruction(const StepInputs& inputs) {
    std::vector<Var> stages;
    frozen_features(teacher_, inputs.views[0], &stages);
    const Var made = through(decoder_, through(encoder_, stages.back()));
    return mse_loss("ft", widened(made), widened(stages.back()).value);
  }

  bool whole_;
  int64_t teacher_updates_;
  Learner learner_ = Learner::student;
  Params params_;  // of the paraphraser
  std::vector<std::unique_ptr<Conv>> encoder_, decoder_;
  std::vector<std::unique_ptr<ConvNorm>> translator_;
};

}  // namespace

MethodInfo ft_method() {
  return {.name = "ft",
          .paper =
              "Kim, Park and Kwak, Paraphrasing Complex Network: Network Compression via Factor Transfer, "
              "NeurIPS 2018",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<FtOptions>(),
          .make = build<FtMethod, FtOptions>,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student_map(), t = in.teacher_map()] { return ft_loss(/*whole=*/false, s, t); };
          }};
}

}  // namespace coss
