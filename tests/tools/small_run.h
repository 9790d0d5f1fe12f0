// A run small enough for tests: a network of the CIFAR family on a batch of noise.
#pragma once
#include <memory>

#include "engine/philox.h"
#include "tools/step.h"

namespace coss::test {

// A supervised ResNet-20 on noise.
struct SmallRun {
  Params params;
  std::unique_ptr<Network> student;
  std::unique_ptr<Method> method;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Step> step;
  Batch batch;

  explicit SmallRun(DType dtype, const StepOptions& wish = {}, int images = 8) {
    const Scope scope(params);
    student = find_model("resnet20_cifar").make(scope / "student", 10);
    method = find_method("supervised").make({}, scope, *student, nullptr);
    params.allocate(wish.device, dtype, /*seed=*/1);
    optimizer = make_optimizer({}, params);
    StepOptions options = wish;
    options.dtype = dtype;
    options.image_size = 32;
    step = std::make_unique<Step>(*method, params, *optimizer, options);
    constexpr int kPixels = 32 * 32 * 3;
    RandomStream random(5, RandomUse::other);
    for (int i = 0; i < images; ++i) {
      batch.indices.push_back(i);
      batch.labels.push_back(i % 10);
      batch.valid.push_back(1);
      batch.params.push_back({.offset = i * kPixels, .source_h = 32, .source_w = 32, .resize_h = 32, .resize_w = 32});
    }
    for (int i = 0; i < images * kPixels; ++i) batch.pixels.push_back(uint8_t(random.bits()));
  }

  void steps(int count, double rate = 0.01) {
    for (int i = 0; i < count; ++i) {
      step->run(batch);
      step->update(rate);
    }
  }
  // Everything that training changes, as bytes.
  std::vector<std::vector<double>> values() {
    std::vector<std::vector<double>> all;
    for (const Tensor& tensor : {params.weights().value, params.rest().value, params.stats()})
      all.push_back(tensor.to_doubles());
    for (const StateTensor& part : step->state())
      if (!part.tensor.empty()) all.push_back(part.tensor.to_doubles());
    return all;
  }
};

}  // namespace coss::test
