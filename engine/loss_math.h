// The formulas of the losses that are the same on every device.
#pragma once
#include <cmath>

#include "engine/philox.h"  // COSS_HOST_DEVICE

namespace coss {

// What the products of one student vector s and one teacher vector t give: the cosine, and its derivative by s as
// of_teacher * t + of_student * s. A clamped norm is a constant: then only the product depends on s.
struct Cosine {
  static constexpr double kSmallestNorm = 1e-12;
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

}  // namespace coss
