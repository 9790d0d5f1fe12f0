// Images of several views as one batch.
#include "losses/frame/views.h"

#include "autograd/ops.h"

namespace coss {

Tensor stacked_views(const std::vector<Tensor>& views, size_t first) {
  const Shape one = views[first].shape();
  const auto flat = [&](const Tensor& images) { return Var(images.reshape({one[0], one.numel() / one[0]})); };
  const NoGrad guard;
  Var all = flat(views[first]);
  for (size_t v = first + 1; v < views.size(); ++v) {
    COSS_CHECK(views[v].shape() == one, "views that go through the network as one batch must have one size, found " +
                                            one.str() + " and " + views[v].shape().str());
    all = stack_rows(all, flat(views[v]));
  }
  return all.value.reshape({all.shape()[0], one[1], one[2], one[3]});
}

}  // namespace coss
