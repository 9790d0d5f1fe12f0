// NCE, CC, SMD and NT-Xent: their goldens, and properties of value and gradient that follow from their formulas.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "losses/cc.h"
#include "losses/nce.h"
#include "losses/simclr.h"
#include "losses/smd.h"
#include "tests/support/golden_file.h"
#include "tests/support/gradient_check.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

Tensor drawn(Shape shape, uint64_t seed) { return random_tensor(shape, DType::f64, Device::reference, seed); }

Tensor labels_of(const std::vector<int32_t>& values, Device device = Device::reference) {
  return Tensor::from(values, {int64_t(values.size())}, device);
}

Tensor weight_of(double value, const Tensor& like) {
  return make_tensor({value}, {1}, accumulator_of(like.dtype()), like.device());
}

// A loss by name, of a student and, where it has one, a teacher.
LossTerms loss_of(const std::string& name, const Var& student, const Var& teacher, const Tensor& labels) {
  if (name == "nce") return nce_loss(0.1f, student, teacher.value, labels);
  if (name == "cc") return cc_loss(student, teacher);
  if (name == "smd") return smd_loss(0.04f, weight_of(0, student.value), student, teacher.value);
  return nt_xent_loss(0.5f, student);
}

struct Result {
  double value;
  std::vector<double> dstudent, dteacher;
};

Result result_of(const std::string& name, const Tensor& student, const Tensor& teacher, const Tensor& labels) {
  const Var x(student, std::make_shared<Grad>()), y(teacher, std::make_shared<Grad>());
  Tape tape;
  const LossTerms terms = loss_of(name, x, y, labels);
  Result result{terms.total.value.item(), {}, {}};
  tape.backward(terms.total);
  result.dstudent = x.grad->value.to_doubles();
  if (!y.grad->value.empty()) result.dteacher = y.grad->value.to_doubles();
  return result;
}

// Row i multiplied by its own positive number.
Tensor stretched(const Tensor& x) {
  std::vector<double> values = x.to_doubles();
  for (size_t i = 0; i < values.size(); ++i) values[i] *= 0.5 + double(i / size_t(x.shape()[1]));
  return make_tensor(values, x.shape(), x.dtype(), x.device());
}

const char* const kLosses[] = {"nce", "cc", "smd", "nt_xent"};

TEST(PairLoss, GoldensOnEveryDevice) {
  const GoldenFile file("pair_loss.safetensors");
  std::vector<Device> devices = devices_under_test();
  devices.push_back(Device::reference);
  for (const Device device : devices) {
    const DType dtype = device == Device::reference ? DType::f64 : DType::f32;
    for (const char* batch : {"0", "1", "2"}) {
      std::vector<int32_t> labels;
      for (double label : file.values(std::string(batch) + "/labels")) labels.push_back(int32_t(label));
      for (const std::string name : kLosses) {
        SCOPED_TRACE(name + " " + batch + " " + name_of(device));
        const std::string key = std::string(batch) + "/" + name + "/";
        const Tensor student = file.tensor(key + "student", dtype, device);
        const Tensor teacher = name == "nt_xent" ? student : file.tensor(key + "teacher", dtype, device);
        const Result result = result_of(name, student, teacher, labels_of(labels, device));
        EXPECT_NEAR(result.value, file.number(key + "loss"), 4e-6 * std::abs(file.number(key + "loss")));
        // Goldens are stored in f32. SMD's distances are roots of differences, which f32 has to some 1e-7.
        EXPECT_LT(normalized_error(result.dstudent, file.values(key + "dstudent")),
                  device == Device::reference ? 1e-14 : 1e-10);
        if (name == "cc") {
          EXPECT_LT(normalized_error(result.dteacher, file.values(key + "dteacher")), 1e-11);
        }
      }
    }
  }
}

// SMD's weights are constants, so its gradient is not that of its value: the goldens have it.
TEST(PairLoss, GradientsInDouble) {
  const Tensor teacher = drawn({6, 5}, 2), labels = labels_of({0, 1, 0, 2, 1, 0});
  for (const std::string name : {"nce", "nt_xent"}) {
    EXPECT_LT(
        gradient_error([&](const std::vector<Var>& in) { return loss_of(name, in[0], Var(teacher), labels).total; },
                       {drawn({6, 5}, 1)}),
        1e-9)
        << name;
  }
  EXPECT_LT(gradient_error([&](const std::vector<Var>& in) { return cc_loss(in[0], in[1]).total; },
                           {drawn({6, 5}, 1), teacher}),
            1e-9);
}

TEST(PairLoss, CosinesDoNotSeeLengths) {
  const Tensor student = drawn({6, 5}, 1), teacher = drawn({6, 5}, 2), labels = labels_of({0, 1, 0, 2, 1, 0});
  for (const std::string name : {"nce", "smd", "nt_xent"}) {
    EXPECT_NEAR(result_of(name, student, teacher, labels).value,
                result_of(name, stretched(student), stretched(teacher), labels).value, 1e-12)
        << name;
    const Result result = result_of(name, student, teacher, labels);
    const std::vector<double> x = student.to_doubles();
    for (size_t row = 0; row < 6; ++row) {
      double along = 0;
      for (size_t d = 0; d < 5; ++d) along += x[row * 5 + d] * result.dstudent[row * 5 + d];
      EXPECT_NEAR(along, 0, 1e-12) << name;
    }
  }
}

TEST(PairLoss, Minima) {
  const Tensor teacher = drawn({6, 8}, 2), labels = labels_of({0, 1, 0, 2, 1, 0});
  EXPECT_EQ(result_of("cc", teacher, teacher, labels).value, 0);
  // Where the student equals its teacher no pair is on the wrong side: all weights are 0 except for rounding.
  const Result smd = result_of("smd", teacher, teacher, labels);
  EXPECT_NEAR(smd.value, std::log(2.0), 1e-4);
  for (double g : smd.dstudent) EXPECT_NEAR(g, 0, 1e-4);
  // Partners alike and orthogonal to all others: log(1 + 4 e^-2).
  std::vector<double> values(6 * 3, 0.0);
  for (size_t i = 0; i < 6; ++i) values[i * 3 + i % 3] = 1;
  const Tensor rows = Tensor::from(values, {6, 3}, Device::reference);
  EXPECT_NEAR(result_of("nt_xent", rows, rows, {}).value, std::log(1 + 4 * std::exp(-2.0)), 1e-12);
  EXPECT_LT(result_of("nt_xent", rows, rows, {}).value, result_of("nt_xent", drawn({6, 3}, 3), rows, {}).value);
  // Classes at one point each, far from the others, are where NCE has its least value for these counts.
  std::vector<double> classes(6 * 3, 0.0);
  for (size_t i = 0; i < 6; ++i) classes[i * 3 + size_t(labels.data<int32_t>()[i])] = 1;
  const Tensor apart = Tensor::from(classes, {6, 3}, Device::reference);
  for (double g : result_of("nce", apart, apart, labels).dstudent) EXPECT_NEAR(g, 0, 1e-3);
  EXPECT_LT(result_of("nce", apart, apart, labels).value, result_of("nce", drawn({6, 3}, 3), apart, labels).value);
}

TEST(PairLoss, TheCosineTermHasItsWeight) {
  const Tensor student = drawn({6, 5}, 1), teacher = drawn({6, 5}, 2);
  for (const double weight : {0.0, 1.0}) {
    const std::vector<double> v =
        smd_loss(0.04f, weight_of(weight, student), Var(student), teacher).values.to_doubles();
    EXPECT_NEAR(v[0], v[1] + weight * v[2], 1e-12);
    EXPECT_LE(std::abs(v[2]), 1);
  }
}

// One row, one class, equal rows, rows of zeros: the results are finite.
TEST(PairLoss, DegenerateBatches) {
  std::vector<Device> devices = devices_under_test();
  devices.push_back(Device::reference);
  for (const Device device : devices) {
    const DType dtype = device == Device::reference ? DType::f64 : DType::f32;
    for (const std::string name : kLosses) {
      for (const int64_t rows : {1, 2, 4}) {
        if (name == "nt_xent" && rows == 1) continue;  // two views are two rows
        for (const double stddev : {0.0, 1.0}) {
          for (const bool equal : {false, true}) {
            SCOPED_TRACE(name + " " + std::to_string(rows) + " " + name_of(device));
            std::vector<double> values =
                random_tensor({rows, 5}, DType::f64, Device::reference, 1, stddev).to_doubles();
            for (size_t i = 5; equal && i < values.size(); ++i) values[i] = values[i % 5];
            const Tensor student = make_tensor(values, {rows, 5}, dtype, device);
            const Tensor teacher = equal ? student : random_tensor({rows, 5}, dtype, device, 2);
            const Tensor labels = labels_of(std::vector<int32_t>(size_t(rows), 3), device);
            const Result result = result_of(name, student, teacher, labels);
            EXPECT_TRUE(std::isfinite(result.value));
            for (double g : result.dstudent) EXPECT_TRUE(std::isfinite(g));
          }
        }
      }
    }
  }
}

// Features in bf16 are widened first: only their own rounding is left.
TEST(PairLoss, RoundedFeatures) {
  const Tensor student = random_tensor({24, 16}, DType::f32, Device::cpu, 1);
  const Tensor teacher = random_tensor({24, 16}, DType::f32, Device::cpu, 2);
  const auto rounded = [](const Tensor& x) { return accumulated(Var(convert(x, DType::bf16, Device::cpu))).value; };
  std::vector<int32_t> chosen;
  for (int32_t i = 0; i < 24; ++i) chosen.push_back(i % 5);
  const Tensor labels = labels_of(chosen, Device::cpu);
  for (const std::string name : kLosses) {
    const Result exact = result_of(name, student, teacher, labels);
    const Result result = result_of(name, rounded(student), rounded(teacher), labels);
    EXPECT_NEAR(result.value, exact.value, 0.01 * exact.value) << name;
    EXPECT_LT(normalized_error(result.dstudent, exact.dstudent), 0.01) << name;
  }
}

TEST(PairLoss, RefusesWhatDiffers) {
  const Tensor labels = labels_of({0, 1, 0, 2, 1, 0});
  EXPECT_THROW(nce_loss(0.1f, Var(drawn({6, 5}, 1)), drawn({6, 4}, 2), labels), Error);
  EXPECT_THROW(cc_loss(Var(drawn({6, 5}, 1)), Var(drawn({5, 5}, 2))), Error);
  EXPECT_THROW(nt_xent_loss(0.5f, Var(drawn({5, 5}, 1))), Error);
}

}  // namespace
}  // namespace coss::test
