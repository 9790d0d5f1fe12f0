// SEED: the loss, the options, the method with its queues, with small patches or without.
#include "losses/seed.h"

#include <optional>

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/heads.h"
#include "losses/frame/queue.h"
#include "losses/frame/views.h"

namespace coss {

LossTerms seed_loss(const QueueContrastParams& params, const Var& student, const Tensor& teacher, const Tensor& queue) {
  const Tensor target = unit_rows(Var(teacher)).value;
  const Compared side{target, target, queue};
  return queue_loss(params, unit_rows(student), side, side);
}

namespace {

struct SeedOptions {
  int64_t queue = 65536;
  QueueContrastParams loss{.student_temperature = 0.2f, .teacher_temperature = 1e-4f};
  TeacherHeadOptions teacher = {};
  int64_t head_layers = 2, head_hidden = 0, small_patches = 0;

  void list(OptionList& row) {
    row.count("queue", queue, "embeddings of the teacher that are kept");
    row.positive("student_temperature", loss.student_temperature,
                 "temperature of the student's softmax over the queue");
    row.positive("teacher_temperature", loss.teacher_temperature,
                 "temperature of the teacher's softmax; the paper's is 0.01");
    teacher.list(row);
    row.count("head_layers", head_layers, "layers of the student's head; 0: none", /*least=*/0);
    row.count("head_hidden", head_hidden, "width of its hidden layers; 0: that of the student's features",
              /*least=*/0);
    row.count("small_patches", small_patches, "views of each image behind the first, with a queue of their own",
              /*least=*/0);
  }
};

class SeedMethod : public Method {
 public:
  SeedMethod(const SeedOptions& options, const MethodParts& parts)
      : loss_(options.loss),
        student_(parts.student),
        teacher_(options.teacher, parts),
        queue_("queue", options.queue, teacher_.width) {
    const int64_t in = student_.feature_width, hidden = options.head_hidden > 0 ? options.head_hidden : in;
    head_ = mlp_head(parts.scope / "head", options.head_layers, in, hidden, teacher_.width);
    if (options.small_patches > 0) small_queue_.emplace("small_queue", options.queue, teacher_.width);
  }

  LossTerms forward(const StepInputs& inputs) override {
    const Seen whole = embed(inputs.views[0], inputs.step);
    LossTerms terms = seed_loss(loss_, whole.student, whole.key, queue_.rows());
    queue_.push(whole.key);
    if (small_queue_) {
      const Seen small = embed(stacked_views(inputs.views, 1), inputs.step);
      const LossTerms of_small = seed_loss(loss_, small.student, small.key, small_queue_->rows());
      // One patch of each image, as in the released code: six of one image would crowd the queue.
      small_queue_->push(small.key.view(0, whole.key.shape()));
      terms = joined(add(terms.total, of_small.total), {terms.total.value, of_small.total.value});
    }
    return terms.with_features(whole.features, whole.teacher_features);
  }
  std::vector<std::string> term_names() const override {
    if (!small_queue_) return {"total"};
    return {"total", "global", "small"};
  }

  void prepare(Device device, DType compute, uint64_t seed) override {
    queue_.prepare(device, compute, seed);
    if (small_queue_) small_queue_->prepare(device, compute, seed);
  }
  std::vector<StateTensor> state() override {
    std::vector<StateTensor> state;
    queue_.add_state(state);
    if (small_queue_) small_queue_->add_state(state);
    return state;
  }

 private:
  // What both networks make of one batch of images; the student's is on the tape.
  struct Seen {
    Var features, student;         // backbone, embedding of any length
    Tensor teacher_features, key;  // backbone, embedding of unit length
  };
  Seen embed(const Tensor& images, const Tensor& step) {
    const auto [teacher_features, embedding] = teacher_(images);
    const Tensor key = unit_rows(Var(embedding)).value;
    const Var features = student_.features(Var(images), Mode::train, step);
    return {features, through(head_, features), teacher_features, key};
  }

  QueueContrastParams loss_;
  Network& student_;
  FrozenTeacher teacher_;
  std::unique_ptr<ProjectionHead> head_;
  Queue queue_;
  std::optional<Queue> small_queue_;  // of the small patches, where there are any
};

}  // namespace

MethodInfo seed_method() {
  return {.name = "seed",
          .paper = "Fang et al., SEED: Self-supervised Distillation for Visual Representation, ICLR 2021",
          .needs = {.teacher = true, .teacher_head = true, .queue = true},
          .options = rows_of<SeedOptions>(),
          .make = build<SeedMethod, SeedOptions>,
          .views = [](const MethodOptions& values) { return 1 + read<SeedOptions>(values).small_patches; },
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student_embedding(), t = in.teacher_embedding(), queue = in.queue()] {
              return seed_loss({.student_temperature = 0.2f, .teacher_temperature = 0.01f}, s, t, queue);
            };
          }};
}

}  // namespace coss
