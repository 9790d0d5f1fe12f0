// MomentumTwin: a second network like the student's, heads included, that follows the student instead of being trained.
// After each update its parameters become momentum * their own + (1 - momentum) * the student's (He et al., CVPR 2020).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "losses/method.h"
#include "models/projection_head.h"

namespace coss {

// Makes the student's head in the given scope; may be empty.
using HeadMaker = std::function<std::unique_ptr<ProjectionHead>(const Scope&)>;

class MomentumTwin {
 public:
  // The student's network and then this head must be registered in parts.scope before anything else.
  MomentumTwin(const MethodParts& parts, float momentum, const HeadMaker& head);
  // Makes the twin equal to the student, whose parameters must have their values.
  void prepare(Device device, DType compute);
  // Features of images (N,S,S,3), through the head, without a tape. In train mode, as the papers' key encoders: batch
  // norm takes the statistics of this batch and keeps running ones of its own.
  Tensor operator()(const Tensor& images, const Tensor& step);
  void follow();  // after an update of the student
  // The same with 1 - momentum from the device, (1) in the accumulator's dtype, so that it may change.
  void follow(const Tensor& share);
  void add_state(std::vector<StateTensor>& state);

 private:
  // The part of the student's range that the twin has too; what follows belongs to the method alone.
  Tensor student_part(const Tensor& range, const Tensor& own) const { return range.view(0, own.shape()); }

  Params& student_;
  Params params_;
  float momentum_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<ProjectionHead> head_;
};

}  // namespace coss
