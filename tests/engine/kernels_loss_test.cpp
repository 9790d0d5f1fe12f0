// Softmax family and losses against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

COSS_KERNEL_SUITE(Losses);

TEST_P(Losses, SoftmaxAndLogSoftmax) {
  for (Shape shape : {Shape{1, 1}, Shape{5, 10}, Shape{3, 1000}, Shape{33, 17}, Shape{7, 513}, Shape{3, 5000},
                      Shape{2, 8200}, Shape{1, 20001}}) {
    for (DType dtype : {compute(), accumulator()}) {
      for (float temperature : {1.0f, 0.07f}) {
        SCOPED_TRACE(shape.str());
        Twin x = normal(shape, compute(), 1, 3), y = output(shape, dtype), log_y = output(shape, dtype);
        both([&](const Kernels& k, Context& c, int side) {
          k.softmax(c, temperature, x[side], y[side]);
          k.log_softmax(c, temperature, x[side], log_y[side]);
        });
        expect_close(y);
        expect_close(log_y);
      }
    }
  }
}

TEST_P(Losses, SoftmaxOfLargeValuesStaysFinite) {
  Twin x = twin({1000, 1000, -1000, 88, 89, 90}, {2, 3}, compute()), y = output({2, 3}, compute());
  both([&](const Kernels& k, Context& c, int side) { k.softmax(c, 1, x[side], y[side]); });
  expect_close(y);
}

TEST_P(Losses, SoftmaxOfMaskedElements) {
  const double masked = -std::numeric_limits<double>::infinity();
  for (int64_t width : {3, 20, 700}) {  // whole groups of masked elements, and the first ones of a row
    std::vector<double> values(size_t(2 * width), masked);
    values[size_t(width - 1)] = 1;
    values[size_t(width)] = 2;
    values[size_t(2 * width - 1)] = 3;
    Twin x = twin(values, {2, width}, compute()), y = output({2, width}, compute());
    both([&](const Kernels& k, Context& c, int side) { k.softmax(c, 0.5f, x[side], y[side]); });
    expect_close(y);
  }
}

// Views that begin or end between the addresses where vectors can be loaded.
TEST_P(Losses, ViewsOfAnyAlignment) {
  const Shape shape{9, 40};
  for (int64_t offset : {1, 2, 4}) {
    Twin all = normal({400}, compute(), 1), teachers = normal({400}, compute(), 2), out = output({400}, compute());
    std::vector<double> chosen{3, 0, -1, 39, 7, 8, 31, 32, 5};
    Twin labels = twin(chosen, {9}, DType::i32), loss = output({1}, accumulator()), terms = output({3}, accumulator());
    auto check = [&](auto&& run) {
      Twin y;
      both([&](const Kernels& k, Context& c, int side) {
        y[side] = out[side].view(offset, shape);
        run(k, c, side, all[side].view(offset, shape), y[side]);
      });
      expect_close(y);
      EXPECT_TRUE(std::isnan(out[0].to_doubles()[size_t(offset - 1)]));
      EXPECT_TRUE(std::isnan(out[0].to_doubles()[size_t(offset + shape.numel())]));
    };
    check([&](const Kernels& k, Context& c, int, const Tensor& x, Tensor& y) { k.softmax(c, 0.5f, x, y); });
    check([&](const Kernels& k, Context& c, int, const Tensor& x, Tensor& y) { k.log_softmax(c, 1, x, y); });
    check([&](const Kernels& k, Context& c, int side, const Tensor& x, Tensor& y) {
      k.cross_entropy(c, x, labels[side], loss[side], y);
    });
    check([&](const Kernels& k, Context& c, int side, const Tensor& x, Tensor& y) {
      k.coss_loss(c, {}, x, teachers[side].view(offset, shape), terms[side], y);
    });
    expect_close(loss);
    expect_close(terms, 10);
  }
}

TEST_P(Losses, TemperaturesMustBePositive) {
  Twin x = normal({2, 3}, compute(), 1), y = output({2, 3}, compute());
  EXPECT_THROW(kernels(backend_.device).softmax(context(backend_.device), 0, x[0], y[0]), Error);
  EXPECT_THROW(kernels(backend_.device).log_softmax(context(backend_.device), -1, x[0], y[0]), Error);
}

TEST_P(Losses, CrossEntropy) {
  for (Shape shape : {Shape{4, 10}, Shape{33, 1000}, Shape{7, 3}, Shape{1, 5}, Shape{8, 259}, Shape{3, 5000},
                      Shape{2, 8203}, Shape{1500, 2}}) {
    for (int64_t skipped : {0, 1, 3}) {  // of three rows each
      SCOPED_TRACE(shape.str());
      std::vector<double> chosen;
      for (int64_t r = 0; r < shape[0]; ++r) chosen.push_back(r % 3 < skipped ? -1 : double(r * 7 % shape[1]));
      Twin logits = normal(shape, compute(), 1, 3), labels = twin(chosen, {shape[0]}, DType::i32);
      Twin loss = output({1}, accumulator()), dlogits = output(shape, compute());
      both([&](const Kernels& k, Context& c, int side) {
        k.cross_entropy(c, logits[side], labels[side], loss[side], dlogits[side]);
      });
      expect_close(loss);
      expect_close(dlogits);
    }
  }
}

// A label that is no class: the CPU says which; a GPU cannot throw, so its loss is NaN.
TEST_P(Losses, LabelsThatAreNoClass) {
  Twin logits = normal({3, 4}, compute(), 1), labels = twin({0, 4, 1}, {3}, DType::i32);
  Twin loss = output({1}, accumulator()), dlogits = output({3, 4}, compute());
  auto run = [&] {
    kernels(backend_.device).cross_entropy(context(backend_.device), logits[0], labels[0], loss[0], dlogits[0]);
  };
  if (backend_.device == Device::cpu) {
    EXPECT_THROW(run(), Error);
  } else {
    run();
    EXPECT_TRUE(std::isnan(loss[0].item()));
    for (double value : dlogits[0].to_doubles()) EXPECT_TRUE(std::isfinite(value));
  }
}

// Where the prediction is nearly certain the gradient at the label is the difference of two numbers close to one.
TEST_P(Losses, CrossEntropyOfConfidentRows) {
  Twin logits = twin({16, 0, 1, 0, 18, 2}, {2, 3}, compute()), labels = twin({0, 1}, {2}, DType::i32);
  Twin loss = output({1}, accumulator()), dlogits = output({2, 3}, compute());
  both([&](const Kernels& k, Context& c, int side) {
    k.cross_entropy(c, logits[side], labels[side], loss[side], dlogits[side]);
  });
  // The CPU adds 1 and much smaller numbers in float; f16 has steps of 2^-24 there.
  if (backend_.device == Device::cuda && compute() != DType::f16) {
    expect_close(loss);
    expect_close(dlogits);
  } else {
    EXPECT_NEAR(loss[0].item(), loss[1].item(), 1e-6);
  }
}

TEST_P(Losses, Coss) {
  for (Shape shape : {Shape{1, 8}, Shape{8, 1}, Shape{16, 64}, Shape{33, 130}, Shape{257, 512}, Shape{5, 3},
                      Shape{3, 5000}, Shape{600, 40}}) {
    for (CossParams p : {CossParams{}, CossParams{142.857f, 1, 1}, CossParams{2, 1, 0}, CossParams{2, 0.5f, 3}}) {
      SCOPED_TRACE(shape.str());
      if (compute() == DType::f16) p.scale *= 1024;  // avoids subnormal numbers
      Twin student = normal(shape, compute(), 1), teacher = normal(shape, compute(), 2);
      Twin terms = output({3}, accumulator()), dstudent = output(shape, compute());
      both([&](const Kernels& k, Context& c, int side) {
        k.coss_loss(c, p, student[side], teacher[side], terms[side], dstudent[side]);
      });
      expect_close(terms, 10);  // the mean of cosines of unrelated vectors cancels to far less than its terms
      // One row or column is parallel to its partner up to sign: the true gradient is zero, and only rounding is left.
      if (shape[0] == 1 || shape[1] == 1) continue;
      expect_close(dstudent);
    }
  }
}

TEST_P(Losses, CossWithZeroRowsAndColumns) {
  const Shape shape{6, 10};
  for (bool zero_student : {false, true}) {
    if (zero_student && compute() == DType::f16) continue;  // 1 / smallest norm exceeds the range of f16
    Twin student = normal(shape, compute(), 1), teacher = normal(shape, compute(), 2);
    Twin& target = zero_student ? student : teacher;
    std::vector<double> values = target[0].to_doubles();
    for (int64_t i = 0; i < 60; ++i) values[size_t(i)] *= i / 10 == 2 || i % 10 == 3 ? 0 : 1;
    target = twin(values, shape, compute());
    Twin terms = output({3}, accumulator()), dstudent = output(shape, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.coss_loss(c, {}, student[side], teacher[side], terms[side], dstudent[side]);
    });
    expect_close(terms, 10);
    expect_close(dstudent);
  }
}

// Features that are the same in every row, or in every column: cosines of vectors of ones.
TEST_P(Losses, CossOfConstantRowsAndColumns) {
  const Shape shape{40, 24};
  for (bool rows : {false, true}) {
    std::vector<double> values(size_t(shape.numel()));
    for (int64_t i = 0; i < shape.numel(); ++i) values[size_t(i)] = double((rows ? i / 24 : i % 24) % 5 + 1);
    Twin student = twin(values, shape, compute()), teacher = normal(shape, compute(), 2);
    Twin terms = output({3}, accumulator()), dstudent = output(shape, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.coss_loss(c, {3, 1, 2}, student[side], teacher[side], terms[side], dstudent[side]);
    });
    expect_close(terms, 10);
    expect_close(dstudent);
  }
}

TEST_P(Losses, TheSameInputsGiveTheSameBytes) {
  const Shape shape{130, 264};
  Twin x = normal(shape, compute(), 1), t = normal(shape, compute(), 2);
  Twin labels = twin(std::vector<double>(130, 7), {130}, DType::i32);
  std::vector<double> first;
  for (int run = 0; run < 2; ++run) {
    Twin loss = output({1}, accumulator()), terms = output({3}, accumulator());
    Twin dx = output(shape, compute()), ds = output(shape, compute());
    kernels(backend_.device).cross_entropy(context(backend_.device), x[0], labels[0], loss[0], dx[0]);
    kernels(backend_.device).coss_loss(context(backend_.device), {}, x[0], t[0], terms[0], ds[0]);
    std::vector<double> all;
    for (Tensor y : {loss[0], terms[0], dx[0], ds[0]}) {
      const std::vector<double> values = y.to_doubles();
      all.insert(all.end(), values.begin(), values.end());
    }
    if (run == 0) first = all;
    EXPECT_EQ(all, first);
  }
}

TEST_P(Losses, CossIsLeastForParallelFeatures) {
  Twin teacher = normal({32, 48}, compute(), 1), terms = output({3}, accumulator()),
       dstudent = output({32, 48}, compute());
  both([&](const Kernels& k, Context& c, int side) {
    k.coss_loss(c, {}, teacher[side], teacher[side], terms[side], dstudent[side]);
  });
  const std::vector<double> values = terms[0].to_doubles();
  EXPECT_NEAR(values[0], -2, 1e-5);
  EXPECT_NEAR(values[1], -1, 1e-5);
  EXPECT_NEAR(values[2], -1, 1e-5);
  for (double value : dstudent[0].to_doubles()) EXPECT_NEAR(value, 0, 1e-6);
}

}  // namespace coss::test
