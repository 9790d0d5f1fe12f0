// CompRess: the loss, and its two methods with their options.
#include "losses/compress.h"

#include "losses/frame/drawn.h"
#include "losses/frame/heads.h"
#include "losses/frame/momentum.h"
#include "losses/frame/queue.h"

namespace coss {

LossTerms compress_loss(float temperature, const Var& student, const Tensor& student_queue, const Tensor& teacher,
                        const Tensor& teacher_queue) {
  const QueueContrastParams params{temperature, temperature, /*divergence=*/true};
  return queue_loss(params, unit_rows(student), {{}, {}, student_queue},
                    {unit_rows(Var(teacher)).value, {}, teacher_queue});
}

namespace {

constexpr const char* kPaper =
    "Abbasi Koohpayegani et al., CompRess: Self-Supervised Learning by Compressing Representations, NeurIPS 2020";

struct Compress1qOptions {
  int64_t queue = 128000;
  float temperature = 0.04f;
  int64_t head_layers = 1;

  void list(OptionList& row) {
    row.count("queue", queue, "features of the teacher that are kept");
    row.positive("temperature", temperature, "temperature of both softmaxes over the queue");
    row.count("head_layers", head_layers, "layers of the student's head to the teacher's width; 0: none", /*least=*/0);
  }
};

class Compress1qMethod : public Method {
 public:
  Compress1qMethod(const Compress1qOptions& options, const MethodParts& parts)
      : temperature_(options.temperature),
        student_(parts.student),
        teacher_(*parts.teacher),
        head_(mlp_head(parts.scope / "head", options.head_layers, student_.feature_width, teacher_.feature_width,
                       teacher_.feature_width)),
        queue_("queue", options.queue, teacher_.feature_width) {}

  LossTerms forward(const StepInputs& inputs) override {
    const Tensor& images = inputs.views[0];
    const Tensor target = frozen_features(teacher_, images);
    const Var features = student_.features(Var(images), Mode::train, inputs.step);
    const LossTerms terms = compress_loss(temperature_, through(head_, features), queue_.rows(), target, queue_.rows());
    queue_.push(unit_rows(Var(target)).value);
    return terms.with_features(features, target);
  }
  std::vector<std::string> term_names() const override { return {"total"}; }

  void prepare(Device device, DType compute, uint64_t seed) override { queue_.prepare(device, compute, seed); }
  std::vector<StateTensor> state() override {
    std::vector<StateTensor> state;
    queue_.add_state(state);
    return state;
  }

 private:
  float temperature_;
  Network &student_, &teacher_;
  std::unique_ptr<ProjectionHead> head_;
  Queue queue_;
};

struct Compress2qOptions {
  int64_t queue = 128000;
  float temperature = 0.04f, momentum = 0.999f;

  void list(OptionList& row) {
    row.count("queue", queue, "features that are kept, as many of the teacher as of the averaged student");
    row.positive("temperature", temperature, "temperature of both softmaxes over the queues");
    row.below_one("momentum", momentum, "momentum of the averaged student");
  }
};

class Compress2qMethod : public Method {
 public:
  Compress2qMethod(const Compress2qOptions& options, const MethodParts& parts)
      : temperature_(options.temperature),
        student_(parts.student),
        teacher_(*parts.teacher),
        twin_(parts, options.momentum, {}),
        student_queue_("student_queue", options.queue, student_.feature_width),
        teacher_queue_("teacher_queue", options.queue, teacher_.feature_width) {}

  LossTerms forward(const StepInputs& inputs) override {
    const Tensor& images = inputs.views[0];
    const Tensor target = frozen_features(teacher_, images);
    const Tensor key = twin_(images, inputs.step);
    const Var features = student_.features(Var(images), Mode::train, inputs.step);
    const LossTerms terms = compress_loss(temperature_, features, student_queue_.rows(), target, teacher_queue_.rows());
    student_queue_.push(unit_rows(Var(key)).value);
    teacher_queue_.push(unit_rows(Var(target)).value);
    return terms.with_features(features, target);
  }
  std::vector<std::string> term_names() const override { return {"total"}; }

  void prepare(Device device, DType compute, uint64_t seed) override {
    twin_.prepare(device, compute);
    student_queue_.prepare(device, compute, seed);
    teacher_queue_.prepare(device, compute, seed);
  }
  std::vector<StateTensor> state() override {
    std::vector<StateTensor> state;
    twin_.add_state(state);
    student_queue_.add_state(state);
    teacher_queue_.add_state(state);
    return state;
  }
  void after_update() override { twin_.follow(); }

 private:
  float temperature_;
  Network &student_, &teacher_;
  MomentumTwin twin_;
  Queue student_queue_, teacher_queue_;
};

}  // namespace

MethodInfo compress_1q_method() {
  return {.name = "compress_1q",
          .paper = kPaper,
          .needs = {.teacher = true, .queue = true},
          .options = rows_of<Compress1qOptions>(),
          .make = build<Compress1qMethod, Compress1qOptions>};
}

MethodInfo compress_2q_method() {
  return {.name = "compress_2q",
          .paper = kPaper,
          .needs = {.teacher = true, .queue = true},
          .options = rows_of<Compress2qOptions>(),
          .make = build<Compress2qMethod, Compress2qOptions>,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student_embedding(), t = in.teacher_embedding(), own = in.queue(), other = in.queue()] {
              return compress_loss(0.04f, s, own, t, other);
            };
          }};
}

}  // namespace coss
