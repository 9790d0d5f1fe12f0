// CRD, BINGO and BYOL: the losses against PyTorch's, their gradients in double, and properties of their methods.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "autograd/ops.h"
#include "losses/bingo.h"
#include "losses/byol.h"
#include "losses/crd.h"
#include "losses/frame/scheduled.h"
#include "tests/support/golden_file.h"
#include "tests/support/gradient_check.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

constexpr double kGolden = 1e-13;  // goldens are stored in float
constexpr Device kReference = Device::reference;

Tensor noise(const std::string& name, int64_t rows, int64_t width) {
  return Tensor::from(golden_noise(name, rows * width), {rows, width}, kReference);
}
Tensor unit(const std::string& name, int64_t rows, int64_t width) {
  return normalize_rows(1e-12f, Var(noise(name, rows, width))).value;
}
Var leaf(const Tensor& value) { return Var(value, std::make_shared<Grad>()); }
Tensor number(double value) { return Tensor::from(std::vector<double>{value}, {1}, kReference); }
Tensor whole(const std::vector<int32_t>& values) { return Tensor::from(values, {int64_t(values.size())}, kReference); }
Tensor step(int64_t value) { return Tensor::from(std::vector<int64_t>{value}, {1}, kReference); }

// --- CRD -----------------------------------------------------------------------------------------------------------

// As tests/goldens/make/make_bank_goldens.py: image i is of class i % classes, row i is image 5 i.
struct CrdCase {
  std::string name;
  int64_t rows, width, images, classes;
  BankContrastParams params;
  Tensor indices, labels;
  ClassOrder order;
  CrdBanks banks;

  CrdCase(const std::string& called, int64_t n, int64_t d, int64_t all, int64_t kinds, float temperature,
          double constant)
      : name(called), rows(n), width(d), images(all), classes(kinds) {
    params = {.negatives = images - images / classes, .temperature = temperature, .seed = 5};
    std::vector<int32_t> of_images, index, label;
    for (int64_t i = 0; i < images; ++i) of_images.push_back(int32_t(i % classes));
    for (int64_t i = 0; i < rows; ++i) {
      index.push_back(int32_t(i * 5 % images));
      label.push_back(of_images[size_t(index.back())]);
    }
    indices = whole(index);
    labels = whole(label);
    order = order_by_class(of_images, classes, kReference);
    banks = {unit(name + "/student_bank", images, width), unit(name + "/teacher_bank", images, width),
             Tensor::from(std::vector<double>{constant, constant}, {2}, kReference)};
  }
  LossTerms operator()(const Var& student, const Var& teacher, int64_t now = 0) {
    return crd_loss(params, step(now), indices, labels, order, student, teacher, banks);
  }
  Tensor student() const { return unit(name + "/student", rows, width); }
  Tensor teacher() const { return unit(name + "/teacher", rows, width); }
};

TEST(Crd, Goldens) {
  const GoldenFile golden("bank.safetensors");
  for (CrdCase& of : std::vector<CrdCase>{
           {"first", 5, 7, 12, 3, 0.5f, 0}, {"later", 3, 16, 22, 2, 0.07f, 880}, {"wide", 9, 33, 30, 5, 0.2f, 0}}) {
    const Var student = leaf(of.student()), teacher = leaf(of.teacher());
    Tape tape;
    const LossTerms terms = of(student, teacher);
    tape.backward(terms.total);
    const std::string key = "crd/" + of.name + "/";
    // The temperature is a float in the engine.
    EXPECT_LT(normalized_error(terms.values.to_doubles(), golden.values(key + "terms")), kGolden);
    EXPECT_LT(normalized_error(of.banks.constants.to_doubles(), golden.values(key + "constants")), 1e-11);
    EXPECT_LT(normalized_error(student.grad->value.to_doubles(), golden.values(key + "dstudent")), 1e-12);
    EXPECT_LT(normalized_error(teacher.grad->value.to_doubles(), golden.values(key + "dteacher")), 1e-12);
  }
}

TEST(Crd, GradientInDouble) {
  for (const bool relaxed : {false, true}) {
    CrdCase of("later", 3, 6, 22, 2, 0.3f, 40);
    of.params.negatives = 7;
    of.params.relaxed = relaxed;
    for (const int side : {0, 1}) {
      EXPECT_LT(gradient_error(
                    [&](const std::vector<Var>& in) {
                      return (side ? of(Var(of.student()), in[0]) : of(in[0], Var(of.teacher()))).total;
                    },
                    {side ? of.teacher() : of.student()}),
                1e-9);
    }
  }
}

// A row that equals its partner and is opposite to all others has the least loss: what mu leaves.
TEST(Crd, MinimumWhereThePartnerAloneIsNear) {
  CrdCase of("minimum", 1, 4, 10, 2, 0.07f, 1);
  std::vector<double> bank(40, 0), row(4, 0);
  for (size_t i = 0; i < 10; ++i) bank[4 * i] = i == 0 ? 1 : -1;
  row[0] = 1;
  of.banks.student = of.banks.teacher = Tensor::from(bank, {10, 4}, kReference);
  const Tensor x = Tensor::from(row, {1, 4}, kReference);
  EXPECT_NEAR(of(Var(x), Var(x)).total.value.item(), 0, 1e-4);
  const Tensor away = Tensor::from(std::vector<double>{0, 1, 0, 0}, {1, 4}, kReference);
  EXPECT_GT(of(Var(away), Var(x)).total.value.item(), 0.1);
}

TEST(Crd, OneClassLeavesThePositive) {
  CrdCase of("one", 2, 5, 6, 1, 0.5f, 0);
  of.params.negatives = 9;
  const Var student = leaf(of.student());
  Tape tape;
  const LossTerms terms = of(student, Var(of.teacher()));
  tape.backward(terms.total);
  for (const double value : terms.values.to_doubles()) EXPECT_TRUE(std::isfinite(value));
  for (const double value : student.grad->value.to_doubles()) EXPECT_TRUE(std::isfinite(value));
}

TEST(Crd, ConstantsAreSetOnce) {
  CrdCase of("first", 5, 7, 12, 3, 0.5f, 0);
  of(Var(of.student()), Var(of.teacher()));
  const std::vector<double> first = of.banks.constants.to_doubles();
  EXPECT_GT(first[0], 0);
  of(Var(of.teacher()), Var(of.student()), 1);
  EXPECT_EQ(of.banks.constants.to_doubles(), first);
}

TEST(Crd, LabelsMustBeThere) { EXPECT_THROW(order_by_class({0, -1, 1}, 2, kReference), Error); }

// --- BINGO ---------------------------------------------------------------------------------------------------------

struct BingoCase {
  std::string name;
  int64_t rows, width, queue;
  float temperature;
  double own, other, share;

  LossTerms operator()(const Var& anchors, const Var& neighbors, const Var& mixed) const {
    return bingo_loss(temperature, {number(own), number(other), number(share)}, anchors, neighbors, mixed,
                      unit(name + "/anchor_key", rows, width), unit(name + "/neighbour_key", rows, width),
                      unit(name + "/queue", queue, width));
  }
  std::vector<Tensor> rows_of_all() const {
    return {unit(name + "/anchor", rows, width), unit(name + "/neighbour", rows, width),
            unit(name + "/mixed", rows, width)};
  }
};
const std::vector<BingoCase>& bingo_cases() {
  static const std::vector<BingoCase> cases{{"early", 3, 7, 19, 0.2f, 1, 0, 0.75},
                                            {"late", 5, 16, 41, 0.1f, 0.5, 0.5, 0.375},
                                            {"one", 1, 33, 10, 0.5f, 0.5, 0.5, 0}};
  return cases;
}

TEST(Bingo, Goldens) {
  const GoldenFile golden("bank.safetensors");
  for (const BingoCase& of : bingo_cases()) {
    std::vector<Var> in;
    for (const Tensor& rows : of.rows_of_all()) in.push_back(leaf(rows));
    Tape tape;
    const LossTerms terms = of(in[0], in[1], in[2]);
    tape.backward(terms.total);
    const std::string key = "bingo/" + of.name + "/";
    EXPECT_NEAR(terms.total.value.item(), golden.number(key + "total"), 1e-6);
    const char* parts[3] = {"danchor", "dneighbour", "dmixed"};
    for (size_t i = 0; i < 3; ++i)
      EXPECT_LT(normalized_error(in[i].grad->value.to_doubles(), golden.values(key + parts[i])), 1e-12) << parts[i];
  }
}

TEST(Bingo, GradientInDouble) {
  const BingoCase& of = bingo_cases()[1];
  EXPECT_LT(gradient_error([&](const std::vector<Var>& in) { return of(in[0], in[1], in[2]).total; }, of.rows_of_all()),
            1e-9);
}

// --- BYOL ----------------------------------------------------------------------------------------------------------

TEST(Byol, Goldens) {
  const GoldenFile golden("bank.safetensors");
  const auto close = [&](const std::string& name, int64_t rows, int64_t width) {
    const Var first = leaf(noise(name + "/first", rows, width)), second = leaf(noise(name + "/second", rows, width));
    Tape tape;
    const LossTerms terms = byol_loss(first, noise(name + "/second_target", rows, width), second,
                                      noise(name + "/first_target", rows, width));
    tape.backward(terms.total);
    EXPECT_NEAR(terms.total.value.item(), golden.number("byol/" + name + "/total"), 1e-6);
    EXPECT_LT(normalized_error(first.grad->value.to_doubles(), golden.values("byol/" + name + "/dfirst")), kGolden);
    EXPECT_LT(normalized_error(second.grad->value.to_doubles(), golden.values("byol/" + name + "/dsecond")), kGolden);
  };
  close("small", 3, 5);
  close("odd", 7, 17);
  close("row", 1, 9);
}

TEST(Byol, MinimumAndScaleInvariance) {
  const Tensor a = noise("byol/a", 4, 6), b = noise("byol/b", 4, 6);
  EXPECT_NEAR(byol_loss(Var(a), a, Var(b), b).total.value.item(), -4, 1e-12);
  const double value = byol_loss(Var(a), b, Var(b), a).total.value.item();
  EXPECT_GT(value, -4);
  EXPECT_NEAR(byol_loss(scale(Var(a), 3), b, Var(b), a).total.value.item(), value, 1e-12);
}

// --- what changes with the updates ---------------------------------------------------------------------------------

TEST(Scheduled, OnEveryDevice) {
  std::vector<Device> devices = devices_under_test();
  devices.push_back(kReference);
  for (const Device device : devices) {
    const DType dtype = device == kReference ? DType::f64 : DType::f32;
    for (const int64_t now : {0, 1, 49, 50, 51, 99, 100}) {
      const Tensor at = Tensor::from(std::vector<int64_t>{now}, {1}, device);
      EXPECT_EQ(while_below(at, 50, dtype).item(), now < 50 ? 1 : 0);
      EXPECT_NEAR(half_cosine(at, 100, dtype).item(), (1 + std::cos(std::acos(-1.0) * double(now) / 100)) / 2, 3e-7);
    }
  }
}

// --- 16-bit features -----------------------------------------------------------------------------------------------

TEST(BankLosses, Bf16IsNearF32) {
  for (const Device device : devices_under_test()) {
    const Tensor x = random_tensor({6, 24}, DType::f32, device, 1), y = random_tensor({6, 24}, DType::f32, device, 2);
    const auto cosines = [&](DType dtype) {
      const auto in = [&](const Tensor& t) { return convert(t, dtype, device); };
      return byol_loss(Var(in(x)), in(y), Var(in(y)), in(x)).total.value.item();
    };
    EXPECT_NEAR(cosines(DType::bf16), cosines(DType::f32), 0.02);
  }
}

}  // namespace
}  // namespace coss::test
