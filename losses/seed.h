// SEED (Fang et al., "SEED: Self-supervised Distillation For Visual Representation", ICLR 2021, arXiv 2101.04731): the
// student's similarities with a queue of the teacher's embeddings follow the teacher's.
//
// z_s, z_t: embeddings of unit length of the same view; D = [z_t, queue]; L = mean over images of the cross-entropy of
// softmax(z_s D / student_temperature) against softmax(z_t D / teacher_temperature). z_t enters the queue afterwards.
// The paper's teacher temperature is 0.01; the released code's, and the default here, 1e-4: nearly a choice of z_t.
// Products and softmax are in fp32 also in bf16 runs; under the official fp16 they are rounded before the division.
#pragma once
#include <memory>
#include <optional>

#include "losses/frame/heads.h"
#include "losses/frame/queue.h"

namespace coss {

// The loss alone: embeddings (N,D) of any length, queue (K,D) of unit length. values: {total}
LossTerms seed_loss(const QueueContrastParams& params, const Var& student, const Tensor& teacher, const Tensor& queue);

class SeedMethod : public Method {
 public:
  SeedMethod(const MethodOptions& options, const MethodParts& parts);
  LossTerms forward(const StepInputs& inputs) override;
  std::vector<std::string> term_names() const override;
  void prepare(Device device, DType compute, uint64_t seed) override;
  std::vector<StateTensor> state() override;

 private:
  // Embeddings of one batch of images, the student's on the tape.
  struct Pair {
    Var student, features;
    Tensor teacher, teacher_features;
  };
  Pair embed(const Tensor& images, const Tensor& step);

  MethodParts parts_;
  QueueContrastParams loss_;
  bool teacher_head_;
  std::unique_ptr<ProjectionHead> head_;
  Queue queue_;
  std::optional<Queue> small_queue_;  // of the small patches, where there are any
};

}  // namespace coss
