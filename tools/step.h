// Step: one training step from a batch in host memory to updated parameters. Nothing in it reads a device value on the
// host; what is to be seen is added up on the device and read by terms() every so often.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/loader.h"
#include "layers/ema.h"
#include "layers/optimizer.h"
#include "losses/method.h"

namespace coss {

struct StepOptions {
  Device device = Device::cpu;
  DType dtype = DType::f32;
  int32_t image_size = 224;
  Normalisation normalisation = {};
  int64_t accumulate = 1;  // batches per update
  double clip_norm = 0;    // 0: off
  double ema_decay = 0;    // 0: off
};

// Means over the steps since the last reading.
struct StepMeans {
  std::vector<double> terms;    // in the order of Method::term_names()
  double gradient_norm = 0;     // of the last step, before clipping
  int64_t first_bad_step = -1;  // the first step whose loss was not finite, or -1
};

class Step {
 public:
  // Borrows all three; they must outlive the step.
  Step(Method& method, Params& params, Optimizer& optimizer, const StepOptions& options);

  // Forward and backward of one batch; gradients add up.
  void run(const Batch& batch);
  // After `accumulate` batches: clip, optimizer, averages.
  void update(double learning_rate);

  int64_t updates() const { return updates_; }
  StepMeans read();                // and start the means anew
  int64_t first_bad_step() const;  // since the last reading: the first whose loss was not finite, or -1
  Ema* ema() { return ema_ ? &*ema_ : nullptr; }

  // What a resumed run needs beside the parameters: optimizer state, averages and running means as tensors, whose
  // storage restore() expects to be filled already, and two counters.
  std::vector<StateTensor> state() const;
  int64_t batches_since_read() const { return batches_; }
  void restore(int64_t updates, int64_t batches_since_read);

 private:
  void upload(const Batch& batch);
  void compute();
  void count_update(int64_t updates);

  Method& method_;
  Params& params_;
  Optimizer& optimizer_;
  StepOptions options_;
  std::unique_ptr<Ema> ema_;
  StepInputs inputs_;
  Tensor pixels_, image_params_, scalars_, loss_seed_, square_sum_, sums_;
  int64_t updates_ = 0, batches_ = 0;
};

}  // namespace coss
