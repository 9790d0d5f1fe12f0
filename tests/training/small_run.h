// A run small enough for tests: a network of the CIFAR family on a batch of noise.
#pragma once
#include <memory>

#include "autograd/ops.h"
#include "engine/philox.h"
#include "training/step.h"

namespace coss::test {

// Applies another method, which takes one view, to every view, and keeps its inputs for the test to see.
class EveryView : public Method {
 public:
  explicit EveryView(std::unique_ptr<Method> method) : method_(std::move(method)) {}
  LossTerms forward(const StepInputs& inputs) override {
    seen = inputs;
    StepInputs one = inputs;
    Var total;
    for (size_t v = 0; v < inputs.views.size(); ++v) {
      one.views = {inputs.views[v]};
      const Var loss = method_->forward(one).total;
      total = v == 0 ? loss : add(total, loss);
    }
    return {total, total.value};
  }
  std::vector<std::string> term_names() const override { return {"total"}; }

  StepInputs seen;

 private:
  std::unique_ptr<Method> method_;
};

// A supervised ResNet-20 on noise, with views of these sizes.
struct SmallRun {
  Params params;
  std::unique_ptr<Network> student;
  std::unique_ptr<EveryView> method;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Step> step;
  Batch batch;

  explicit SmallRun(DType dtype, const StepOptions& wish = {}, int images = 8,
                    const std::vector<int32_t>& sizes = {32}) {
    const Scope scope(params);
    student = find_model("resnet20_cifar").make(scope / "student", 10);
    method = std::make_unique<EveryView>(
        make_method(MethodOptions("supervised"), {.scope = scope, .student = *student, .classes = 10}));
    params.allocate(wish.device, dtype, /*seed=*/1);
    optimizer = make_optimizer({}, params);
    StepOptions options = wish;
    options.dtype = dtype;
    options.image_sizes = sizes;
    step = std::make_unique<Step>(*method, params, *optimizer, options);
    constexpr int kPixels = 32 * 32 * 3;
    RandomStream random(5, RandomUse::other);
    for (int i = 0; i < images; ++i) {
      batch.indices.push_back(i);
      batch.labels.push_back(i % 10);
      batch.valid.push_back(1);
    }
    for (const int32_t size : sizes) {
      View& view = batch.views.emplace_back();
      for (int i = 0; i < images; ++i)
        view.params.push_back(
            {.offset = i * kPixels, .source_h = 32, .source_w = 32, .resize_h = size, .resize_w = size});
      for (int i = 0; i < images * kPixels; ++i) view.pixels.push_back(uint8_t(random.bits()));
    }
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
