// SimCLR: the loss as one operation, and the method around it.
#include "losses/simclr.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"

namespace coss {
namespace {

// Two batches of images, one behind the other.
Tensor stacked(const Tensor& a, const Tensor& b) {
  const int64_t rows = a.shape()[0], width = a.numel() / rows;
  Shape both = a.shape();
  both.dims[0] = 2 * rows;
  return stack_rows(Var(a.reshape({rows, width})), Var(b.reshape({rows, width}))).value.reshape(both);
}

}  // namespace

LossTerms nt_xent_loss(float temperature, const Var& rows) {
  COSS_CHECK(rows.shape().rank == 2 && rows.shape()[0] % 2 == 0,
             "[nt_xent] rows must be (2N,D), found " + rows.shape().str());
  const Var cosines = gram(normalize_rows(kSmallestNorm, rows));
  return fused_loss(cosines, 1, [&](Tensor& loss, Tensor& dcosines) {
    kernels(loss).nt_xent_loss(context(loss.device()), temperature, cosines.value, loss, dcosines);
  });
}

SimclrMethod::SimclrMethod(const MethodOptions& options, const MethodParts& parts)
    : student_(parts.student), temperature_(options.real("temperature")) {
  const int64_t width = student_.feature_width, out = options.whole("projection");
  COSS_CHECK(out > 0, "method.projection must be above 0");
  head_ = std::make_unique<ProjectionHead>(parts.scope / "head", projection_of("simclr", width, width, out));
}

LossTerms SimclrMethod::forward(const StepInputs& inputs) {
  const Tensor images = stacked(inputs.views[0], inputs.views[1]);
  const Var features = student_.features(Var(images), Mode::train, inputs.step);
  LossTerms terms = nt_xent_loss(temperature_, accumulated((*head_)(features, Mode::train)));
  terms.student = rows_of(Var(features.value), 0, inputs.views[0].shape()[0]).value;
  return terms;
}

}  // namespace coss
