// SimCLR: the loss as one operation, the options, the method.
#include "losses/simclr.h"

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/heads.h"
#include "losses/frame/views.h"

namespace coss {

LossTerms nt_xent_loss(float temperature, const Var& rows) {
  COSS_CHECK(rows.shape().rank == 2 && rows.shape()[0] % 2 == 0,
             "[nt_xent] rows must be (2N,D), found " + rows.shape().str());
  const Var cosines = gram(normalize_rows(kSmallestNorm, rows));
  return fused_loss(cosines, 1, [&](Tensor& loss, Tensor& dcosines) {
    kernels(loss).nt_xent_loss(context(loss.device()), temperature, cosines.value, loss, dcosines);
  });
}

namespace {

struct SimclrOptions {
  float temperature = 0.1f;
  int64_t projection = 128;

  void list(OptionList& row) {
    row.positive("temperature", temperature, "the cosines are divided by it; the paper's for CIFAR-10 is 0.5");
    row.count("projection", projection, "width of the head's output");
  }
};

class SimclrMethod : public Method {
 public:
  SimclrMethod(const SimclrOptions& options, const MethodParts& parts)
      : temperature_(options.temperature),
        student_(parts.student),
        head_(parts.scope / "head",
              projection_of("simclr", student_.feature_width, student_.feature_width, options.projection)) {}

  LossTerms forward(const StepInputs& inputs) override {
    const Tensor images = stacked_views(inputs.views);
    const Var features = student_.features(Var(images), Mode::train, inputs.step);
    const Var of_first_view = rows_of(Var(features.value), 0, inputs.views[0].shape()[0]);
    return nt_xent_loss(temperature_, accumulated(head_(features, Mode::train))).with_features(of_first_view);
  }
  std::vector<std::string> term_names() const override { return {"total"}; }

 private:
  float temperature_;
  Network& student_;
  ProjectionHead head_;
};

}  // namespace

MethodInfo simclr_method() {
  return {.name = "simclr",
          .paper = "Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020",
          .needs = {},
          .options = rows_of<SimclrOptions>(),
          .make = build<SimclrMethod, SimclrOptions>,
          .views = two_views,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            const Var rows = in.variable(in.constant({2 * in.n, in.sizes.queue_width}));
            return [rows] { return nt_xent_loss(0.1f, rows); };
          }};
}

}  // namespace coss
