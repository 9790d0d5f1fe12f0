// KD, SLD, DKD and the losses that take features for logits (dino, dinoss, dist): gradients in double, PyTorch's values
// from tests/goldens/logit_loss.safetensors, and properties that follow from the formulas.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "losses/dino.h"
#include "losses/dinoss.h"
#include "losses/dist.h"
#include "losses/dkd.h"
#include "losses/kd.h"
#include "tests/support/golden_file.h"
#include "tests/support/gradient_check.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

using Loss = std::function<LossTerms(const Var& student, const Tensor& teacher, const Tensor& labels)>;

struct Case {
  const char* name;
  Loss loss;
  double scale;   // of the goldens' inputs
  double equal;   // the loss is least where the student is this multiple of the teacher
  bool absolute;  // and it is 0 there, for every teacher
};

const std::vector<Case>& cases() {
  static const std::vector<Case> list{
      {"kd", [](const Var& s, const Tensor& t, const Tensor&) { return kd_loss(4, s, t); }, 5, 1, true},
      {"dino", [](const Var& s, const Tensor& t, const Tensor&) { return dino_loss({}, s, t); }, 0.5, 0.1 / 0.07,
       false},
      {"dinoss", [](const Var& s, const Tensor& t, const Tensor&) { return dinoss_loss({}, 0.5f, s, t); }, 0.5,
       0.1 / 0.07, false},
      {"dist", [](const Var& s, const Tensor& t, const Tensor&) { return dist_loss({}, s, t); }, 0.5, 0.1 / 0.07, true},
      {"dkd", [](const Var& s, const Tensor& t, const Tensor& labels) { return dkd_loss({}, s, t, labels); }, 5, 1,
       true},
  };
  return list;
}

Tensor drawn(Shape shape, uint64_t seed, double scale) {
  return random_tensor(shape, DType::f64, Device::reference, seed, scale);
}

Tensor labels_of(int64_t rows, int64_t classes, Device device) {
  std::vector<int32_t> labels;
  for (int64_t r = 0; r < rows; ++r) labels.push_back(r % 4 == 3 ? -1 : int32_t(r * 7 % classes));
  return Tensor::from(labels, {rows}, device);
}

struct Result {
  std::vector<double> terms, gradient;
};

Result result_of(const Loss& loss, const Tensor& student, const Tensor& teacher, const Tensor& labels) {
  const Var x(student, std::make_shared<Grad>());
  Tape tape;
  const LossTerms terms = loss(x, teacher, labels);
  tape.backward(terms.total);
  return {terms.values.to_doubles(), x.grad->value.to_doubles()};
}

TEST(LogitLoss, GradientsInDouble) {
  for (const Case& test : cases()) {
    const Tensor teacher = drawn({5, 7}, 2, 0.5 * test.scale), labels = labels_of(5, 7, Device::reference);
    const auto total = [&](const std::vector<Var>& v) { return test.loss(v[0], teacher, labels).total; };
    EXPECT_LT(gradient_error(total, {drawn({5, 7}, 1, 0.5 * test.scale)}), 1e-9) << test.name;
  }
}

TEST(LogitLoss, Goldens) {
  const GoldenFile goldens("logit_loss.safetensors");
  std::vector<Device> devices = devices_under_test();
  devices.push_back(Device::reference);
  for (const Device device : devices) {
    const DType dtype = device == Device::reference ? DType::f64 : DType::f32;
    for (const Case& test : cases()) {
      for (const Shape shape : {Shape{5, 7}, Shape{13, 18}, Shape{9, 33}}) {
        const std::string key =
            std::string(test.name) + "/" + std::to_string(shape[0]) + "x" + std::to_string(shape[1]);
        SCOPED_TRACE(key);
        const auto side = [&](const char* name) {
          return make_tensor(golden_noise(key + "/" + name, shape.numel(), 0, test.scale), shape, dtype, device);
        };
        const Result got =
            result_of(test.loss, side("student"), side("teacher"), labels_of(shape[0], shape[1], device));
        // Exponents of features over 0.07 reach 14: their rounding is 1e-6 of the result.
        const double bound = device == Device::reference ? 1e-13 : 1e-10;
        EXPECT_LT(normalized_error(got.terms, goldens.values(key + "/terms")), bound);
        EXPECT_LT(normalized_error(got.gradient, goldens.values(key + "/dstudent")), bound);
      }
    }
  }
}

// The loss is least where the student's softened probabilities equal the teacher's.
TEST(LogitLoss, Minimum) {
  for (const Case& test : cases()) {
    SCOPED_TRACE(test.name);
    const Shape shape{6, 9};
    const Tensor teacher = drawn(shape, 2, test.scale), labels = labels_of(6, 9, Device::reference);
    std::vector<double> values = teacher.to_doubles();
    // The temperatures are floats.
    const double ratio = test.equal == 1 ? 1 : double(0.1f) / double(0.07f);
    for (double& value : values) value *= ratio;
    const Tensor best = Tensor::from(values, shape, Device::reference);
    const Result least = result_of(test.loss, best, teacher, labels);
    if (test.absolute) {
      EXPECT_NEAR(least.terms[0], 0, 1e-9);
    }
    for (const double g : least.gradient) EXPECT_NEAR(g, 0, 1e-9);
    EXPECT_GT(result_of(test.loss, drawn(shape, 1, test.scale), teacher, labels).terms[0], least.terms[0]);
  }
}

// A number that is added to a row does not change its softmax; dinoss has softmaxes of columns too.
TEST(LogitLoss, RowsMayBeShifted) {
  for (const Case& test : cases()) {
    if (std::string(test.name) == "dinoss") continue;
    const Tensor student = drawn({4, 5}, 1, test.scale), teacher = drawn({4, 5}, 2, test.scale);
    std::vector<double> values = student.to_doubles();
    for (size_t i = 0; i < values.size(); ++i) values[i] += double(i / 5) - 1.5;
    const Tensor shifted = Tensor::from(values, {4, 5}, Device::reference), labels = labels_of(4, 5, Device::reference);
    const Result before = result_of(test.loss, student, teacher, labels);
    const Result after = result_of(test.loss, shifted, teacher, labels);
    EXPECT_NEAR(before.terms[0], after.terms[0], 1e-9) << test.name;
    EXPECT_LT(normalized_error(after.gradient, before.gradient), 1e-18) << test.name;
  }
}

// DKD with weights 1 - p of the others, and 1, is KD (equation 7 of the paper), here for one row.
TEST(LogitLoss, DkdTakesKdApart) {
  const Tensor student = drawn({1, 6}, 1, 3), teacher = drawn({1, 6}, 2, 3);
  const Tensor label = Tensor::from(std::vector<int32_t>{2}, {1}, Device::reference);
  Tensor p({1, 6}, DType::f64, Device::reference);
  kernels(p).softmax(context(p.device()), 4, teacher, p);
  const Result parts = result_of(cases().back().loss, student, teacher, label);
  EXPECT_NEAR(parts.terms[1] + (1 - p.to_doubles()[2]) * parts.terms[2],
              result_of(cases().front().loss, student, teacher, label).terms[0], 1e-9);
}

TEST(LogitLoss, HalfPrecisionIsNearby) {
  for (const Device device : devices_under_test()) {
    for (const Case& test : cases()) {
      SCOPED_TRACE(test.name);
      const Shape shape{12, 40};
      const Tensor student = random_tensor(shape, DType::bf16, device, 1, test.scale);
      const Tensor teacher = random_tensor(shape, DType::bf16, device, 2, test.scale);
      const Tensor labels = labels_of(12, 40, device);
      const Result narrow = result_of(test.loss, student, teacher, labels);
      const Result wide =
          result_of(test.loss, convert(student, DType::f32, device), convert(teacher, DType::f32, device), labels);
      EXPECT_LT(normalized_error(narrow.terms, wide.terms), 1e-9);  // computed in float
      EXPECT_LT(normalized_error(narrow.gradient, wide.gradient), 2e-5);
    }
  }
}

TEST(LogitLoss, OneRowAndOneClassAreDefined) {
  for (const Device device : devices_under_test()) {
    for (const Case& test : cases()) {
      for (const int64_t rows : {1, 6}) {
        const Tensor student = random_tensor({rows, 5}, DType::f32, device, 1);
        const Tensor teacher = random_tensor({rows, 5}, DType::f32, device, 2);
        const Tensor labels = Tensor::from(std::vector<int32_t>(size_t(rows), 3), {rows}, device);
        const Result got = result_of(test.loss, student, teacher, labels);
        for (const double value : got.terms) EXPECT_TRUE(std::isfinite(value)) << test.name;
        for (const double value : got.gradient) EXPECT_LT(std::abs(value), 1e3) << test.name;
      }
    }
  }
}

TEST(LogitLoss, RefusesWhatDoesNotFit) {
  const Tensor x = drawn({4, 5}, 1, 1), y = drawn({4, 6}, 2, 1), labels = labels_of(4, 5, Device::reference);
  for (const Case& test : cases()) EXPECT_THROW(test.loss(Var(x), y, labels), Error) << test.name;
  EXPECT_THROW(dkd_loss({}, Var(drawn({4, 1}, 1, 1)), drawn({4, 1}, 2, 1), labels), Error);
}

}  // namespace
}  // namespace coss::test
