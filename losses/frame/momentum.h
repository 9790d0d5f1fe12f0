// MomentumTwin: a second network like the student's, heads included, that is not trained but follows it: after each
// update its parameters become momentum * their own + (1 - momentum) * the student's (He et al., CVPR 2020).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "losses/method.h"
#include "models/projection_head.h"

namespace coss {

// The head that stands in the given scope, as the method makes it for the student; may be empty.
using HeadMaker = std::function<std::unique_ptr<ProjectionHead>(const Scope&)>;

class MomentumTwin {
 public:
  // The student's network and then this head must be the first that was registered in parts.scope.
  MomentumTwin(const MethodParts& parts, float momentum, const HeadMaker& head);
  // Equal to the student from now on; after its parameters got their values.
  void prepare(Device device, DType compute);
  // Features of images (N,S,S,3), through the head: in train mode, so batch norm takes the statistics of this batch and
  // keeps running ones of its own, as the papers' key encoders do. Without a tape.
  Tensor operator()(const Tensor& images, const Tensor& step);
  void follow();  // after an update of the student
  // The same with 1 - momentum from the device, (1) in A: it may change from update to update.
  void follow(const Tensor& share);
  void add_state(std::vector<StateTensor>& state);

 private:
  // The places of the student's parameters that the twin has too: what comes behind them is the method's alone.
  Tensor student_part(const Tensor& range, const Tensor& own) const { return range.view(0, own.shape()); }

  Params& student_;
  Params params_;
  float momentum_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<ProjectionHead> head_;
};

}  // namespace coss
