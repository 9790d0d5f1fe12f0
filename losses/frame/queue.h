// Queue: the newest embeddings, with which contrastive methods compare; and the comparison as one operation.
#pragma once
#include <string>
#include <vector>

#include "losses/frame/fused.h"

namespace coss {

// `size` rows of unit length, random at first. New rows replace the oldest.
class Queue {
 public:
  // `name` is the queue's in checkpoints; its first rows follow from it, so that two queues differ.
  Queue(std::string name, int64_t size, int64_t width);
  void prepare(Device device, DType compute, uint64_t seed);
  void push(const Tensor& rows);  // (N,width) of unit length, in the accumulator's dtype
  const Tensor& rows() const { return rows_; }
  // The rows and the cursor, for checkpoints.
  void add_state(std::vector<StateTensor>& state) const;

 private:
  std::string name_;
  int64_t size_, width_;
  Tensor rows_, cursor_;
};

// x (N,D) in the accumulator's dtype with rows of unit length.
Var unit_rows(const Var& x);

// One side of a comparison, all of unit length: rows (N,D), their own partners (N,D) or nothing, queue (K,D).
struct Compared {
  Tensor rows, own, queue;
};
// Cross-entropy, over the own partner and the queue, of the softmax of the student's cosines against the teacher's
// (kernel queue_contrast). student (N,D) of unit length on the tape; `student_side.rows` is not read. Without a teacher
// the own partner is the target: InfoNCE.
LossTerms queue_loss(const QueueContrastParams& params, const Var& student, const Compared& student_side,
                     const Compared& teacher);

}  // namespace coss
