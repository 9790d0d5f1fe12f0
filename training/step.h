// Step: what a training step does, from micro-batches in host memory to updated parameters; one object does all steps
// of a run. An update changes the parameters, a micro-batch is a part of it, and a step is what users see counted: one
// update. Nothing in it reads a device value on the host; what is to be seen is added up on the device and read by
// read() every so often. On a device that records, its two halves are recorded once and replayed from then on.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/loader.h"
#include "losses/method.h"
#include "training/ema.h"
#include "training/optimizer.h"

namespace coss {

struct StepOptions {
  Device device = Device::cpu;
  DType dtype = DType::f32;
  std::vector<int32_t> image_sizes = {224};  // of each view
  Normalization normalization = {};
  int64_t accumulate = 1;  // micro-batches per update
  double clip_norm = 0;    // 0: off
  double ema_decay = 0;    // 0: off
  bool record = true;      // where the device can
  // Of the method's companion: SGD with momentum 0.9 at a constant rate.
  double companion_rate = 0, companion_decay = 0;
};

// Means over the steps since the last reading.
struct StepMeans {
  std::vector<double> terms;  // in the order of Method::term_names()
  double gradient_norm = 0;   // of the last step, before clipping
};

class Step {
 public:
  // Borrows all three; they must outlive the step.
  Step(Method& method, Params& params, Optimizer& optimizer, const StepOptions& options);

  // Forward and backward of one micro-batch; gradients add up.
  void run(const Batch& batch);
  // Does the same with images that are on the device already, for timing: (N,H,W,3) in the compute dtype. They are
  // every view; labels and indices are 0.
  void run_on(const Tensor& images);
  // One micro-batch of black images and an update at rate 0, to see that a step can run.
  void rehearse(int64_t images);
  // Called after `accumulate` micro-batches: clips the gradient, updates the parameters, then the averages.
  void update(double learning_rate);

  int64_t updates() const { return updates_; }
  // Reads the means and starts new ones. Waits for the device.
  StepMeans read();
  // The first step since the last reading whose loss was not finite, or -1. Waits.
  int64_t first_bad_step() const;
  // The same for the teacher's features.
  int64_t first_bad_teacher_step() const;
  // Features of the last micro-batch, (N,D), that the method gives for the figures of health; empty if it gives none.
  const Tensor& student_features() const { return student_features_; }
  const Tensor& teacher_features() const { return teacher_features_; }
  Ema* ema() { return ema_ ? &*ema_ : nullptr; }
  // The scale of the loss in f16 training; 1 in every other dtype. Waits.
  double loss_scale() const { return scaler_.empty() ? 1 : scaler_.to_doubles()[0]; }
  // The pool of the memory that only the recorded step uses; null where steps are not recorded.
  const Pool* own_pool() const { return memory_.pool.get(); }

  // What a resumed run needs beside the parameters: the tensors of optimizer, averages, running means, method and
  // companion, and two counters. restore() takes the counters; the tensors' storage is filled before it is called.
  std::vector<StateTensor> state() const;
  int64_t micro_batches_since_read() const { return micro_batches_; }
  void restore(int64_t updates, int64_t micro_batches_since_read);

 private:
  // One half of a step. Its work is done twice without recording, so that every plan and every block of memory exists.
  // Then it is recorded, and from then on replayed.
  struct Half {
    int done = 0;
    std::unique_ptr<Recording> recording;
  };
  // On the device: what augment_images makes a view from.
  struct Source {
    Tensor pixels, params;
  };
  void perform(Half& half, const std::function<void()>& work);
  void upload(const Batch& batch);
  void prepare_inputs(int64_t images);
  void compute();
  void apply_gradient();
  void count_update(int64_t updates);
  void start_means();
  void upload_scalars(double rate, bool learns, Tensor& scalars);

  Method& method_;
  Params& params_;
  Optimizer& optimizer_;
  StepOptions options_;
  std::unique_ptr<Ema> ema_;
  Params* companion_;
  std::unique_ptr<Optimizer> companion_optimizer_;
  Learner learner_;
  StepInputs inputs_;
  bool records_;
  PoolScope::Memory memory_;  // of the recorded work; before the halves, whose recordings use it
  Half forward_, update_;
  std::vector<Source> sources_;   // of the views
  std::vector<int32_t> indices_;  // on the host, as they are uploaded
  Tensor scalars_, companion_scalars_, scaler_, square_sum_, sums_;
  Tensor teacher_squares_, teacher_meter_;  // not part of state(): a resumed run does not need them
  Tensor student_features_, teacher_features_;
  int64_t updates_ = 0, micro_batches_ = 0;  // in all; since the last reading
};

}  // namespace coss
