// Drawn inputs: random features, logits, maps and queues, on which `coss bench losses` runs the loss of a method alone
// (MethodInfo::loss_alone). All are f32 except labels.
#pragma once
#include <memory>
#include <vector>

#include "losses/method.h"

namespace coss {

struct DrawnSizes {
  int64_t width = 2048;                      // of features
  int64_t classes = 1000;                    // of logits
  int64_t map = 7, channels = 512;           // of feature maps
  int64_t queue = 65536, queue_width = 128;  // rows of the queue; width of embeddings in queues and memory banks
  int64_t negatives = 16384, bank = 50000;   // of CRD
};

class DrawnInputs {
 public:
  DrawnInputs(const DrawnSizes& of, Device place, int64_t batch) : sizes(of), n(batch), device(place) {}

  Tensor constant(const Shape& shape);             // normally distributed
  Tensor directions(int64_t rows, int64_t width);  // of unit length
  Var variable(const Tensor& value);               // wants a gradient
  Tensor labels() const;                           // (N) i32: ten classes in turn
  // Teachers' are constants, students' are variables.
  Var student() { return variable(constant({n, sizes.width})); }  // features
  Tensor teacher() { return constant({n, sizes.width}); }
  Var student_embedding() { return variable(constant({n, sizes.queue_width})); }
  Tensor teacher_embedding() { return constant({n, sizes.queue_width}); }
  Var student_logits() { return variable(constant({n, sizes.classes})); }
  Tensor teacher_logits() { return constant({n, sizes.classes}); }
  Var student_map() { return variable(constant({n, sizes.map, sizes.map, sizes.channels})); }
  Tensor teacher_map() { return constant({n, sizes.map, sizes.map, sizes.channels}); }
  Tensor queue() { return directions(sizes.queue, sizes.queue_width); }

  void forget_gradients();

  const DrawnSizes sizes;
  const int64_t n;
  const Device device;

 private:
  uint64_t stream_ = 0;
  std::vector<std::shared_ptr<Grad>> places_;
};

// So many images' labels: ten classes in turn.
std::vector<int32_t> ten_classes(int64_t images);

}  // namespace coss
