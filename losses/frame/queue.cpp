// The queue's memory and its first rows; queue_contrast as an operation.
#include "losses/frame/queue.h"

#include "autograd/ops.h"

namespace coss {

namespace {

// Each name has a stream of random numbers of its own (the hash FNV-1a).
uint64_t stream_of(const std::string& name) {
  uint64_t hash = 14695981039346656037ull;
  for (const char c : name) hash = (hash ^ uint64_t(static_cast<unsigned char>(c))) * 1099511628211ull;
  return hash;
}

}  // namespace

Queue::Queue(std::string name, int64_t size, int64_t width) : name_(std::move(name)), size_(size), width_(width) {
  COSS_CHECK(size > 0 && width > 0, "a queue needs at least one row and one column: set method.queue");
}

void Queue::prepare(Device device, DType compute, uint64_t seed) {
  const DType accumulator = accumulator_of(compute);
  Tensor drawn({size_, width_}, accumulator, device);
  kernels(device).random_normal(context(device), seed, stream_of(name_), 0, 1, drawn);
  rows_ = Tensor(drawn.shape(), accumulator, device);
  kernels(device).normalize_rows(context(device), kSmallestNorm, drawn, rows_);
  cursor_ = Tensor::from(std::vector<int64_t>{0}, {1}, device);
}

void Queue::push(const Tensor& rows) {
  COSS_CHECK(rows.shape()[1] == width_,
             "[queue] rows are " + rows.shape().str() + ", the queue is " + rows_.shape().str());
  kernels(rows).queue_push(context(rows.device()), rows, cursor_, rows_);
}

void Queue::add_state(std::vector<StateTensor>& state) const {
  state.push_back({name_, rows_});
  state.push_back({name_ + ".cursor", cursor_});
}

Var unit_rows(const Var& x) { return normalize_rows(kSmallestNorm, accumulated(x)); }

LossTerms queue_loss(const QueueContrastParams& params, const Var& student, const Compared& student_side,
                     const Compared& teacher) {
  const auto check = [](const char* whose, const Tensor& rows, const Tensor& own, const Tensor& queue) {
    COSS_CHECK(rows.shape().rank == 2 && queue.shape().rank == 2 && rows.shape()[1] == queue.shape()[1],
               std::string("[queue_loss] the ") + whose + " has rows " + rows.shape().str() + " and a queue " +
                   queue.shape().str());
    COSS_CHECK(own.empty() || own.shape() == rows.shape(), std::string("[queue_loss] the ") + whose + " has rows " +
                                                               rows.shape().str() + " and partners " +
                                                               own.shape().str());
  };
  COSS_CHECK(params.student_temperature > 0 && params.teacher_temperature > 0,
             "[queue_loss] the temperatures must be positive");
  check("student", student.value, student_side.own, student_side.queue);
  if (!teacher.rows.empty()) {
    check("teacher", teacher.rows, teacher.own, teacher.queue);
    COSS_CHECK(
        teacher.rows.shape()[0] == student.shape()[0] && teacher.queue.shape()[0] == student_side.queue.shape()[0],
        "[queue_loss] student and teacher need as many rows and queues of one size");
  }
  return fused_loss(student, 1, [&](Tensor& loss, Tensor& dstudent) {
    kernels(dstudent).queue_contrast(context(dstudent.device()), params, student.value, student_side.own,
                                     student_side.queue, teacher.rows, teacher.own, teacher.queue, loss, dstudent);
  });
}

}  // namespace coss
