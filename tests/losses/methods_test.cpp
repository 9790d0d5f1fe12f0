// Every method of the registry: its gradient is that of its loss, in double, and its terms have names.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "layers/linear.h"
#include "losses/method.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

// Mean colour of an image through one linear layer: small enough for differences of every parameter.
class Toy : public Network {
 public:
  Toy(const Scope& scope, int64_t width)
      : features_(scope, "features", LinearOptions(3, width)), classifier_(scope, "fc", LinearOptions(width, 4)) {
    feature_width = width;
    classes = 4;
  }
  Var features(const Var& images, Mode, const Tensor&, std::vector<Var>*) override {
    return features_(mean_hw(images));
  }
  Var logits(const Var& features, Mode, const Tensor&) override { return classifier_(features); }
  int64_t macs(int64_t) const override { return 3 * feature_width + 4 * feature_width; }

 private:
  Linear features_, classifier_;
};

struct Toys {
  Params student_params, teacher_params;
  Toy student, teacher;
  std::unique_ptr<Method> method;
  StepInputs inputs;

  Toys(const MethodInfo& info, int64_t student_width, int64_t teacher_width)
      : student(Scope(student_params) / "student", student_width), teacher(Scope(teacher_params), teacher_width) {
    MethodOptions options;
    options.name = info.name;
    options.head_hidden = 6;
    method = info.make(options, Scope(student_params), student, info.needs_teacher ? &teacher : nullptr);
    student_params.allocate(Device::reference, DType::f64, 11);
    teacher_params.allocate(Device::reference, DType::f64, 12, true);
    inputs.images = random_tensor({5, 2, 2, 3}, DType::f64, Device::reference, 1);
    inputs.labels = Tensor::from(std::vector<int32_t>{0, 3, 1, 2, 0}, {5}, Device::reference);
    inputs.step = Tensor::from(std::vector<int64_t>{0}, {1}, Device::reference);
  }
};

TEST(Methods, GradientsAreThoseOfTheLoss) {
  for (const MethodInfo& info : methods()) {
    for (const int64_t teacher_width : {4, 7}) {
      Toys toys(info, 4, teacher_width);
      {
        Tape tape;
        tape.backward(toys.method->forward(toys.inputs).total);
      }
      for (FlatRange* range : {&toys.student_params.weights(), &toys.student_params.rest()}) {
        double* values = range->value.mutable_data<double>();
        std::vector<double> differences;
        constexpr double kStep = 1e-6;
        for (int64_t i = 0; i < range->value.numel(); ++i) {
          const double centre = values[i];
          double loss[2];
          for (int side = 0; side < 2; ++side) {
            values[i] = centre + (side ? kStep : -kStep);
            loss[side] = toys.method->forward(toys.inputs).total.value.item();
          }
          values[i] = centre;
          differences.push_back((loss[1] - loss[0]) / (2 * kStep));
        }
        EXPECT_LT(normalised_error(range->grad.to_doubles(), differences), 1e-9) << info.name;
      }
    }
  }
}

TEST(Methods, TermsHaveNamesAndTheTotalIsFirst) {
  for (const MethodInfo& info : methods()) {
    Toys toys(info, 4, 4);
    const LossTerms terms = toys.method->forward(toys.inputs);
    const std::vector<std::string> names = toys.method->term_names();
    EXPECT_EQ(terms.values.shape(), Shape{int64_t(names.size())}) << info.name;
    EXPECT_EQ(names[0], "total");
    EXPECT_EQ(terms.values.to_doubles()[0], terms.total.value.item()) << info.name;
  }
}

TEST(Methods, TeachersStayAsTheyAre) {
  for (const MethodInfo& info : methods()) {
    if (!info.needs_teacher) continue;
    Toys toys(info, 4, 7);
    const std::vector<double> before = toys.teacher_params.weights().value.to_doubles();
    Tape tape;
    tape.backward(toys.method->forward(toys.inputs).total);
    EXPECT_EQ(toys.teacher_params.weights().value.to_doubles(), before);
    EXPECT_THROW(info.make({}, Scope(toys.student_params), toys.student, nullptr), Error);
  }
}

TEST(Methods, UnknownNamesGetASuggestion) {
  try {
    find_method("cos");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean \"coss\"?"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace coss::test
