// Contrast with a queue against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {
namespace {

class Contrast : public KernelTest {
 protected:
  struct Case {
    int64_t rows, width, keys, teacher_width;
    bool own;
    QueueContrastParams params = {};
    double looser = 1;
    bool teacher = true;
    double length = 1;  // of all rows
  };

  Twin unit(Shape shape, uint64_t seed, double length = 1) const {
    std::vector<double> values = random_tensor(shape, DType::f64, Device::reference, seed).to_doubles();
    for (int64_t r = 0; r < shape[0]; ++r) {
      double squares = 0;
      for (int64_t d = 0; d < shape[1]; ++d) squares += std::pow(values[size_t(r * shape[1] + d)], 2);
      for (int64_t d = 0; d < shape[1]; ++d) values[size_t(r * shape[1] + d)] *= length / std::sqrt(squares);
    }
    return twin(values, shape, accumulator());
  }

  void check(const Case& c) const {
    SCOPED_TRACE(std::to_string(c.rows) + " x " + std::to_string(c.width) + ", queue " + std::to_string(c.keys));
    const Shape shape{c.rows, c.width}, teachers{c.rows, c.teacher_width};
    Twin student = unit(shape, 1, c.length), own_student, queue = unit({c.keys, c.width}, 3, c.length);
    Twin teacher, own_teacher, teacher_queue;
    if (c.own) own_student = unit(shape, 2, c.length);
    if (c.teacher) {
      teacher = unit(teachers, 4, c.length);
      teacher_queue = unit({c.keys, c.teacher_width}, 5, c.length);
      if (c.own) own_teacher = c.params.teacher_temperature < 0.005f ? teacher : unit(teachers, 6, c.length);
    }
    Twin loss = output({1}, accumulator()), dstudent = output(shape, accumulator());
    both([&](const Kernels& k, Context& ctx, int side) {
      k.queue_contrast(ctx, c.params, student[side], own_student[side], queue[side], teacher[side], own_teacher[side],
                       teacher_queue[side], loss[side], dstudent[side]);
    });
    expect_close(loss, c.looser);
    expect_close(dstudent, c.looser);
  }
};
// These kernels compute in the accumulator's dtype only.
std::vector<Backend> one_of_each_device() {
  std::vector<Backend> list;
  for (const Device device : devices_under_test()) list.push_back({device, DType::f32});
  return list;
}
INSTANTIATE_TEST_SUITE_P(Backends, Contrast, testing::ValuesIn(one_of_each_device()),
                         [](const auto& test) { return backend_name(test.param); });

TEST_P(Contrast, OwnPairAndQueue) {
  check({1, 8, 1, 8, true});
  check({5, 33, 67, 33, true});
  check({70, 24, 150, 10, true});
  check({3, 130, 300, 130, true});
}

// With SEED's released temperature the teacher's softmax is nearly one at its own pair.
TEST_P(Contrast, SharpTeachers) {
  check({7, 16, 100, 16, true, {.teacher_temperature = 1e-4f}});
  check({7, 16, 300, 16, true, {.student_temperature = 0.02f, .teacher_temperature = 0.05f}, 10});
}

TEST_P(Contrast, DivergenceWithoutOwnPairs) {
  const QueueContrastParams params{.student_temperature = 0.04f, .teacher_temperature = 0.04f, .divergence = true};
  check({1, 20, 40, 9, false, params, 10});
  check({9, 20, 270, 31, false, params, 10});
}

TEST_P(Contrast, WithoutTeacherTheOwnPairIsTheTarget) {
  check({6, 19, 90, 0, true, {}, 1, false});
  check({1, 4, 3, 0, true, {}, 1, false});
}

// Logits far beyond the range of exp(), positive and negative.
TEST_P(Contrast, LogitsOfAnySize) {
  check({4, 8, 70, 8, false, {.student_temperature = 0.05f, .teacher_temperature = 1}, 100, true, 20});
  check({4, 8, 70, 8, true, {.student_temperature = 0.05f, .teacher_temperature = 1}, 100, true, 20});
}

// Later blocks of the queue have greater products than the earlier ones.
TEST_P(Contrast, GreatestProductsLast) {
  std::vector<double> keys;
  for (int i = 0; i < 600; ++i) keys.push_back(i / 300.0 - 1), keys.push_back(0.5);
  Twin queue = twin(keys, {600, 2}, accumulator()), student = twin({1, 0, -1, 0.25}, {2, 2}, accumulator());
  Twin teacher = twin({0.5, 1, -1, 1}, {2, 2}, accumulator()), none;
  Twin loss = output({1}, accumulator()), dstudent = output({2, 2}, accumulator());
  both([&](const Kernels& k, Context& ctx, int side) {
    k.queue_contrast(ctx, {.student_temperature = 0.02f, .teacher_temperature = 0.01f}, student[side], none[side],
                     queue[side], teacher[side], none[side], queue[side], loss[side], dstudent[side]);
  });
  expect_close(loss);
  expect_close(dstudent, 100);  // the difference of two means that are nearly equal
}

// Where student and teacher agree, divergence and gradient are zero.
TEST_P(Contrast, AgreementIsTheMinimum) {
  const Device device = backend_.device;
  const Twin rows = unit({5, 12}, 1), queue = unit({40, 12}, 2);
  Tensor loss({1}, accumulator(), device), dstudent({5, 12}, accumulator(), device);
  kernels(device).queue_contrast(context(device),
                                 {.student_temperature = 0.1f, .teacher_temperature = 0.1f, .divergence = true},
                                 rows.sides[0], {}, queue.sides[0], rows.sides[0], {}, queue.sides[0], loss, dstudent);
  EXPECT_NEAR(loss.item(), 0, 1e-5);
  for (const double g : dstudent.to_doubles()) EXPECT_NEAR(g, 0, 1e-5);
}

TEST_P(Contrast, TheSameInputsGiveTheSameBytes) {
  const Device device = backend_.device;
  const Twin rows = unit({20, 12}, 1), teacher = unit({20, 12}, 3), queue = unit({700, 12}, 2);
  std::vector<double> first;
  for (int run = 0; run < 2; ++run) {
    Tensor loss({1}, accumulator(), device), dstudent({20, 12}, accumulator(), device);
    kernels(device).queue_contrast(context(device), {}, rows.sides[0], teacher.sides[0], queue.sides[0],
                                   teacher.sides[0], teacher.sides[0], queue.sides[0], loss, dstudent);
    std::vector<double> all = dstudent.to_doubles();
    all.push_back(loss.item());
    if (run == 0) first = all;
    EXPECT_EQ(all, first);
  }
}

TEST_P(Contrast, QueueTakesRowsInTurn) {
  for (const int64_t size : {1, 4, 10}) {  // smaller than a batch, no multiple of one, larger
    Twin queue = normal({size, 5}, accumulator(), 1), cursor = twin({0}, {1}, DType::i64);
    for (uint64_t push = 0; push < 4; ++push) {
      Twin rows = normal({3, 5}, accumulator(), 10 + push);
      both([&](const Kernels& k, Context& ctx, int side) { k.queue_push(ctx, rows[side], cursor[side], queue[side]); });
    }
    expect_equal(queue);
    expect_equal(cursor);
    EXPECT_EQ(cursor[0].item(), 12);
  }
}

}  // namespace
}  // namespace coss::test
