// Losses over pairs of rows against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

// All tensors have the accumulator's dtype, so there is one case per device.
class PairLosses : public KernelTest {};
INSTANTIATE_TEST_SUITE_P(Devices, PairLosses, testing::ValuesIn([] {
                           std::vector<Backend> list;
                           for (const Device device : devices_under_test()) list.push_back({device, DType::f32});
                           return list;
                         }()),
                         [](const auto& test) { return backend_name(test.param); });

namespace {

// Numbers in (-1, 1), as cosines are.
std::vector<double> cosines_of(Shape shape, uint64_t seed) {
  std::vector<double> values = random_tensor(shape, DType::f64, Device::reference, seed).to_doubles();
  for (double& value : values) value = std::tanh(value);
  return values;
}

std::vector<double> labels_of(int64_t rows, int64_t classes) {
  std::vector<double> labels;
  for (int64_t r = 0; r < rows; ++r) labels.push_back(double(r * 7 % 11 % classes));
  return labels;
}

}  // namespace

TEST_P(PairLosses, Nce) {
  for (int64_t rows : {2, 5, 17, 70}) {
    for (int64_t classes : {1, 9}) {
      SCOPED_TRACE(std::to_string(rows) + " rows, classes " + std::to_string(classes));
      Twin cosines = twin(cosines_of({rows, rows}, 1), {rows, rows}, accumulator());
      Twin labels = twin(labels_of(rows, classes), {rows}, DType::i32);
      Twin loss = output({1}, accumulator()), dcosines = output({rows, rows}, accumulator());
      both([&](const Kernels& k, Context& c, int side) {
        k.nce_loss(c, 0.1f, cosines[side], labels[side], loss[side], dcosines[side]);
      });
      expect_close(loss);
      expect_close(dcosines);
    }
  }
}

// Certain rows: one is right; where one is wrong, 1 - p is too small for a float beside 1.
TEST_P(PairLosses, NceOfCertainRows) {
  for (int64_t rows : {1, 3}) {
    std::vector<double> values(size_t(rows * rows), -1.0);
    for (int64_t r = 0; r < rows; ++r) values[size_t(r * rows + (r + 1) % rows)] = 1;
    Twin cosines = twin(values, {rows, rows}, accumulator()), labels = twin(labels_of(rows, 3), {rows}, DType::i32);
    Twin loss = output({1}, accumulator()), dcosines = output({rows, rows}, accumulator());
    both([&](const Kernels& k, Context& c, int side) {
      k.nce_loss(c, 0.1f, cosines[side], labels[side], loss[side], dcosines[side]);
    });
    EXPECT_NEAR(loss[0].item(), loss[1].item(), rows == 1 ? 1e-9 : 1e-4);
    if (rows > 1) expect_close(dcosines);
  }
}

TEST_P(PairLosses, Cc) {
  for (Shape shape : {Shape{1, 5}, Shape{2, 1}, Shape{7, 32}, Shape{70, 131}}) {
    SCOPED_TRACE(shape.str());
    Twin student = normal(shape, accumulator(), 1), teacher = normal(shape, accumulator(), 2);
    Twin loss = output({1}, accumulator());
    Twin dstudent = output(shape, accumulator()), dteacher = output(shape, accumulator());
    both([&](const Kernels& k, Context& c, int side) {
      k.cc_loss(c, student[side], teacher[side], loss[side], dstudent[side], dteacher[side]);
    });
    if (shape[0] == 1) {
      EXPECT_EQ(loss[0].item(), 0);
      expect_equal(dstudent);
    } else {
      expect_close(loss);
      expect_close(dstudent);
      expect_close(dteacher);
    }
  }
}

TEST_P(PairLosses, Smd) {
  for (int64_t rows : {1, 2, 5, 70}) {
    for (double weight : {0.0, 1.0}) {
      if (weight == 0 && rows == 70) continue;
      SCOPED_TRACE(std::to_string(rows) + " rows, weight " + std::to_string(weight));
      Twin of_teacher = twin(cosines_of({rows, rows}, 1), {rows, rows}, accumulator());
      Twin cosines = twin(cosines_of({rows, rows}, 2), {rows, rows}, accumulator());
      Twin cosine_weight = constant(weight, {1}, accumulator());
      Twin terms = output({3}, accumulator()), dcosines = output({rows, rows}, accumulator());
      both([&](const Kernels& k, Context& c, int side) {
        k.smd_loss(c, 0.04f, cosine_weight[side], of_teacher[side], cosines[side], terms[side], dcosines[side]);
      });
      expect_close(terms);
      expect_close(dcosines);
    }
  }
}

// The student equals its teacher, and some rows are equal: no pair is on the wrong side.
TEST_P(PairLosses, SmdOfEqualRows) {
  const std::vector<double> values{1, 1, 0.5, 1, 1, 0.5, 0.5, 0.5, 1};
  Twin same = twin(values, {3, 3}, accumulator()), cosine_weight = constant(0, {1}, accumulator());
  Twin terms = output({3}, accumulator()), dcosines = output({3, 3}, accumulator());
  both([&](const Kernels& k, Context& c, int side) {
    k.smd_loss(c, 0.04f, cosine_weight[side], same[side], same[side], terms[side], dcosines[side]);
  });
  EXPECT_NEAR(terms[0].item(), std::log(2.0), 1e-6);
  expect_equal(dcosines);
}

TEST_P(PairLosses, NtXent) {
  for (int64_t rows : {2, 4, 34, 70}) {
    for (float temperature : {0.5f, 0.05f}) {
      if (temperature > 0.1f && rows > 34) continue;
      SCOPED_TRACE(std::to_string(rows) + " rows");
      std::vector<double> values = cosines_of({rows, rows}, 1);
      for (int64_t r = 0; r < rows; ++r) values[size_t(r * rows + r)] = 1;
      Twin cosines = twin(values, {rows, rows}, accumulator());
      Twin loss = output({1}, accumulator()), dcosines = output({rows, rows}, accumulator());
      both([&](const Kernels& k, Context& c, int side) {
        k.nt_xent_loss(c, temperature, cosines[side], loss[side], dcosines[side]);
      });
      if (rows == 2) {  // only the partner
        EXPECT_EQ(loss[0].item(), 0);
        for (double value : dcosines[0].to_doubles()) EXPECT_EQ(value, 0);
      } else {
        expect_close(loss);
        expect_close(dcosines);
      }
    }
  }
}

// Partners are equal and all other rows opposite: the sum over the others is far below 1.
TEST_P(PairLosses, NtXentOfConfidentRows) {
  std::vector<double> values(36, -1.0);
  for (int r = 0; r < 6; ++r) values[size_t(r * 6 + r)] = values[size_t(r * 6 + (r + 3) % 6)] = 1;
  Twin cosines = twin(values, {6, 6}, accumulator());
  Twin loss = output({1}, accumulator()), dcosines = output({6, 6}, accumulator());
  both([&](const Kernels& k, Context& c, int side) {
    k.nt_xent_loss(c, 0.1f, cosines[side], loss[side], dcosines[side]);
  });
  expect_close(loss, 1e4);  // the reference takes the logarithm of a number near 1
  expect_close(dcosines, 1e4);
}

TEST_P(PairLosses, TemperaturesMustBePositive) {
  Twin x = twin({1, 0, 0, 1}, {2, 2}, accumulator()), labels = twin({0, 1}, {2}, DType::i32);
  Twin loss = output({1}, accumulator()), dx = output({2, 2}, accumulator());
  const Kernels& k = kernels(backend_.device);
  Context& c = context(backend_.device);
  EXPECT_THROW(k.nce_loss(c, 0, x[0], labels[0], loss[0], dx[0]), Error);
  EXPECT_THROW(k.nt_xent_loss(c, -1, x[0], loss[0], dx[0]), Error);
}

}  // namespace coss::test
