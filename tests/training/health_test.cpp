// The figures of health on features whose spread, rank and neighbors are known, and when they warn.
#include "training/health.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/support/support.h"
#include "training/eigenvalues.h"

namespace coss {
namespace {

Tensor features(const std::vector<double>& values, int64_t rows, DType dtype = DType::f32) {
  return test::make_tensor(values, {rows, int64_t(values.size()) / rows}, dtype, Device::cpu);
}

// Row i is `scale` times the unit vector of dimension i % directions.
std::vector<double> axes(int64_t rows, int64_t width, int64_t directions, double scale = 3) {
  std::vector<double> x(size_t(rows * width), 0.0);
  for (int64_t i = 0; i < rows; ++i) x[size_t(i * width + i % directions)] = scale;
  return x;
}

TEST(Eigenvalues, OfTheSecondDifferenceAreKnown) {
  constexpr int64_t kSize = 37;
  std::vector<double> matrix(kSize * kSize, 0.0);
  for (int64_t i = 0; i < kSize; ++i) {
    matrix[size_t(i * kSize + i)] = 2;
    if (i > 0) matrix[size_t(i * kSize + i - 1)] = matrix[size_t((i - 1) * kSize + i)] = -1;
  }
  const std::vector<double> values = symmetric_eigenvalues(matrix, kSize);
  for (int64_t i = 0; i < kSize; ++i)
    EXPECT_NEAR(values[size_t(i)], 2 - 2 * std::cos(M_PI * double(i + 1) / (kSize + 1)), 1e-13) << i;
}

// Q diag(i) Q^T with Q a reflection: full, with the eigenvalues 0, 1, … n - 1, of which 5 comes three times.
TEST(Eigenvalues, OfAFullMatrixAndOfSmallOnes) {
  constexpr int64_t kSize = 50;
  std::vector<double> wanted(kSize), mirror(kSize), matrix(kSize * kSize);
  std::iota(wanted.begin(), wanted.end(), 0.0);
  wanted[6] = wanted[7] = 5;
  double square = 0;
  for (size_t i = 0; i < kSize; ++i) square += std::pow(mirror[i] = std::sin(double(i + 1)), 2);
  const auto q = [&](size_t i, size_t j) { return double(i == j) - 2 * mirror[i] * mirror[j] / square; };
  for (size_t i = 0; i < kSize; ++i)
    for (size_t j = 0; j < kSize; ++j)
      for (size_t m = 0; m < kSize; ++m) matrix[i * kSize + j] += q(i, m) * wanted[m] * q(j, m);
  const std::vector<double> values = symmetric_eigenvalues(matrix, kSize);
  for (size_t i = 0; i < kSize; ++i) EXPECT_NEAR(values[i], wanted[i], 1e-12) << i;

  EXPECT_EQ(symmetric_eigenvalues({-3}, 1), std::vector<double>{-3});
  EXPECT_EQ(symmetric_eigenvalues(std::vector<double>(9, 0.0), 3), std::vector<double>(3, 0.0));
  const std::vector<double> pair = symmetric_eigenvalues({1, 2, 2, -2}, 2);
  EXPECT_NEAR(pair[0], -3, 1e-14);
  EXPECT_NEAR(pair[1], 2, 1e-14);
}

TEST(Health, RankAndSpreadOfKnownFeatures) {
  // Centered, k axes taken in turn have k - 1 equal singular values; wider and narrower than there are rows.
  for (int64_t width : {7, 90}) {
    const Health health = measure_health(features(axes(60, width, 5), 60), {});
    EXPECT_NEAR(health.student_rank, 4, 1e-5) << width;
    EXPECT_NEAR(health.student_std, 5 * std::sqrt(0.2 * 0.8) / std::sqrt(double(width)), 1e-6) << width;
    EXPECT_TRUE(std::isnan(health.teacher_std) && std::isnan(health.overlap_1));
    EXPECT_EQ(health.numbers().size(), 2u);
  }
  // Normal features point everywhere alike, and their rank is nearly their width.
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Health noise = measure_health(test::random_tensor({256, 32}, dtype, Device::cpu, 1), {});
    EXPECT_NEAR(noise.student_std, 1, 0.02);
    EXPECT_NEAR(noise.student_rank, 31.4, 0.5);
  }
  std::vector<double> one(20 * 50);  // rows that are all the same
  for (size_t i = 0; i < one.size(); ++i) one[i] = std::sin(double(i % 50));
  const Health same = measure_health(features(one, 20), features(axes(20, 8, 1), 20));
  EXPECT_NEAR(same.student_std, 0, 1e-12);
  EXPECT_EQ(same.student_rank, 0);
  EXPECT_EQ(same.teacher_std, 0);
  EXPECT_EQ(same.teacher_rank, 0);
}

TEST(Health, OverlapOfKnownNeighbors) {
  // Angles along a circle: neighbors are the next ones. The second student has the rows in another order.
  constexpr int64_t kRows = 40;
  std::vector<double> circle, halves;
  for (int64_t i = 0; i < kRows; ++i) {
    const double place = 0.05 * double(i) + 1e-3 * double(i % 3), angle = i % 2 ? place : place + M_PI;
    circle.insert(circle.end(), {std::cos(place), std::sin(place)});
    halves.insert(halves.end(), {2 * std::cos(angle), 2 * std::sin(angle)});
  }
  const Tensor teacher = features(circle, kRows);
  const Health same = measure_health(teacher, teacher);
  EXPECT_EQ(same.overlap_1, 1);
  EXPECT_EQ(same.overlap_10, 1);
  EXPECT_EQ(same.rows, kRows);
  EXPECT_EQ(same.student_rank, same.teacher_rank);
  // Every second row on the other side of the circle: of the ten nearest those of its own side remain, five or so.
  const Health half = measure_health(features(halves, kRows), teacher);
  EXPECT_EQ(half.overlap_1, 0);
  EXPECT_NEAR(half.overlap_10, 0.45, 0.1);
  const Health noise = measure_health(test::random_tensor({200, 64}, DType::f32, Device::cpu, 1),
                                      test::random_tensor({200, 16}, DType::f32, Device::cpu, 2));
  EXPECT_NEAR(noise.overlap_10, 10.0 / 199, 0.02);
}

TEST(Health, WhatIsNotDefinedIsLeftOut) {
  EXPECT_TRUE(measure_health({}, {}).numbers().empty());
  EXPECT_TRUE(measure_health(features({1, 2, 3}, 1), features({1, 2}, 1)).numbers().empty());
  EXPECT_EQ(measure_health(features({1, 2, 3, 4}, 2), features({1, 2}, 2)).numbers().size(), 4u);
  EXPECT_EQ(measure_health(features(axes(9, 4, 3), 9), features(axes(9, 3, 3), 9)).numbers().size(), 6u);
  EXPECT_TRUE(measure_health(features({1, 2, NAN, 4}, 2), {}).numbers().empty());
  // Only the first 256 rows count.
  std::vector<double> many = axes(300, 4, 4);
  std::fill(many.begin() + 256 * 4, many.end(), 1e6);
  const Health first = measure_health(features(many, 300), {});
  EXPECT_EQ(first.rows, 256);
  EXPECT_NEAR(first.student_rank, 3, 1e-6);
}

Health healthy() {
  Health health;
  health.student_std = health.teacher_std = 0.8;
  health.student_rank = health.teacher_rank = 40;
  health.overlap_1 = health.overlap_5 = health.overlap_10 = 0.3;
  health.rows = 256;
  return health;
}

TEST(HealthWatch, AHealthyRunIsSilent) {
  HealthWatch watch;
  for (int64_t step = 20; step <= 2000; step += 20)
    EXPECT_TRUE(watch.look(step, healthy(), 1 + double(step % 7)).empty()) << step;
  EXPECT_TRUE(watch.look(2020, {}, 3).empty());  // a method without features
}

TEST(HealthWatch, WarnsOnceOfEachKind) {
  HealthWatch watch;
  EXPECT_TRUE(watch.look(20, healthy(), 1).empty());
  const auto expect_once = [&](Health health, double norm, const std::string& part) {
    const std::vector<std::string> warnings = watch.look(1000, health, norm);
    ASSERT_EQ(warnings.size(), 1u) << part;
    EXPECT_TRUE(warnings[0].starts_with("step 1000: warning: ")) << warnings[0];
    EXPECT_NE(warnings[0].find(part), std::string::npos) << warnings[0];
    EXPECT_TRUE(watch.look(1020, health, norm).empty()) << part;
  };
  Health sick = healthy();
  sick.student_std = 0.07;  // below a tenth of 0.8
  expect_once(sick, 1, "the features of all images become the same");
  sick = healthy();
  sick.student_rank = 3.5;
  expect_once(sick, 1, "student_rank is 3.5, the teacher's 40");
  sick = healthy();
  sick.teacher_rank = 1.2;
  expect_once(sick, 1, "teacher.weights");
  sick = healthy();
  sick.overlap_10 = 0.03;
  expect_once(sick, 1, "by chance 0.0392");
  expect_once(healthy(), 0, "nothing is learned");
  expect_once(healthy(), 1e4, "train.clip_norm=1");
}

TEST(HealthWatch, AYoungStudentAndFewRowsAreExcused) {
  HealthWatch watch;
  Health young = healthy();
  young.student_std = 5e-4;
  young.student_rank = 1.2;
  young.overlap_10 = 0.01;
  EXPECT_TRUE(watch.look(20, young, 1).empty());
  Health few = young;
  few.rows = 16;
  few.student_std = 0.5;
  EXPECT_TRUE(watch.look(5000, few, 1).empty());
  EXPECT_TRUE(watch.look(5020, few, INFINITY).empty());  // a skipped fp16 step
}

}  // namespace
}  // namespace coss
