// The formulas of the losses that are the same on every device.
#pragma once
#include <cmath>

#include "engine/kernel_params.h"  // kSmallestNorm
#include "engine/philox.h"         // COSS_HOST_DEVICE

namespace coss {

// The cosine of one student vector s and one teacher vector t, from their products. Its derivative by s is of_teacher *
// t + of_student * s. A clamped norm is a constant; then only the product depends on s.
struct Cosine {
  double value, of_teacher, of_student;

  COSS_HOST_DEVICE Cosine(double product, double student_square, double teacher_square) {
    const double length = std::sqrt(student_square), s = clamped(length), t = clamped(std::sqrt(teacher_square));
    value = product / (s * t);
    of_teacher = 1 / (s * t);
    of_student = length > kSmallestNorm ? -value / (s * s) : 0;
  }

 private:
  COSS_HOST_DEVICE static double clamped(double norm) { return norm < kSmallestNorm ? kSmallestNorm : norm; }
};

// log(1 + e^x) and its derivative, for any x.
COSS_HOST_DEVICE inline double softplus(double x) { return (x > 0 ? x : 0) + std::log1p(std::exp(x > 0 ? -x : x)); }
COSS_HOST_DEVICE inline double softplus_slope(double x) { return 1 / (1 + std::exp(-x)); }

// DKD's target class. `student` and `teacher` are the log-odds of that class against all others together. `value` is
// the divergence of the two binary distributions, `slope` its derivative by the student's log-odds.
struct TargetClass {
  double value, slope;

  COSS_HOST_DEVICE TargetClass(double student, double teacher) {
    const double share = softplus_slope(teacher);
    value = softplus(student) - softplus(teacher) - share * (student - teacher);
    slope = softplus_slope(student) - share;
  }
};

// NCE adds this to a probability before it takes the logarithm.
constexpr float kNceEps = 1e-10f;

// One of the two pairs that SMD chooses for an anchor. Its logit is weight * the student's distance / temperature. The
// weight is the amount by which that distance is on the wrong side of the teacher's; it is a constant in the gradient.
struct SmdPair {
  double logit = 0, slope = 0;  // slope: derivative of the logit by the student's cosine

  SmdPair() = default;
  COSS_HOST_DEVICE SmdPair(double teacher_cosine, double cosine, double temperature, bool positive) {
    const double teacher = distance(teacher_cosine), student = distance(cosine);
    const double beyond = positive ? student - teacher : teacher - student, weight = beyond > 0 ? beyond : 0;
    logit = weight * student / temperature;
    slope = 2 - 2 * cosine > kSmallestSquare ? -weight / (student * temperature) : 0;
  }

 private:
  static constexpr double kSmallestSquare = 1e-12;
  COSS_HOST_DEVICE static double distance(double cosine) {
    const double square = 2 - 2 * cosine;
    return std::sqrt(square > kSmallestSquare ? square : kSmallestSquare);
  }
};

// Relations between rows: a squared distance, computed from inner products, counts as 0 below this share of the
// vectors' squared lengths, because that much is rounding.
constexpr float kSmallestSquareShare = 1e-6f;
// Distances are clamped there: the square root of the 1e-12 of RKD's program.
constexpr float kShortestDistance = 1e-6f;

}  // namespace coss
