// The losses of the methods on random inputs, as `coss bench losses` and its tests call them.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "losses/method.h"

namespace coss {

struct LossSizes {
  int64_t width = 2048;                      // columns of features
  int64_t classes = 1000;                    // columns of logits
  int64_t map = 7, channels = 512;           // of feature maps
  int64_t queue = 65536, queue_width = 128;  // rows of the queue; width of embeddings in queues and memory banks
  int64_t negatives = 16384, bank = 50000;   // of CRD
};

// Random inputs for the losses. All are f32, except labels.
class LossInputs {
 public:
  LossInputs(const LossSizes& of, Device place, int64_t batch) : sizes(of), n(batch), device(place) {}

  Tensor constant(const Shape& shape);
  Tensor directions(int64_t rows, int64_t width);  // of unit length
  Var variable(const Tensor& value);               // wants a gradient
  Tensor labels() const;
  // The inputs of most losses: (N, width).
  Var student() { return variable(constant({n, sizes.width})); }
  Tensor teacher() { return constant({n, sizes.width}); }
  Var student_embedding() { return variable(constant({n, sizes.queue_width})); }
  Tensor teacher_embedding() { return constant({n, sizes.queue_width}); }
  Var student_logits() { return variable(constant({n, sizes.classes})); }
  Tensor teacher_logits() { return constant({n, sizes.classes}); }
  Var student_map() { return variable(constant({n, sizes.map, sizes.map, sizes.channels})); }
  Tensor teacher_map() { return constant({n, sizes.map, sizes.map, sizes.channels}); }
  Tensor queue() { return directions(sizes.queue, sizes.queue_width); }

  void forget_gradients();

  const LossSizes sizes;
  const int64_t n;
  const Device device;

 private:
  uint64_t stream_ = 0;
  std::vector<std::shared_ptr<Grad>> places_;
};

using LossCall = std::function<LossTerms()>;

struct LossCase {
  const char* name;  // the method's
  std::function<LossCall(LossInputs&)> make;
};

const std::vector<LossCase>& loss_cases();

}  // namespace coss
