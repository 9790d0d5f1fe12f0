// Losses over feature maps against their definitions in the reference backend.
#include "tests/engine/kernel_test.h"

namespace coss::test {

class MapLosses : public KernelTest {
 protected:
  // A few elements, perhaps all equal, may all round by nearly half of the last bit, and small gradients are subnormal
  // in f16.
  double of_small(double in_f16) const { return compute() == DType::f16 ? in_f16 : compute() == DType::bf16 ? 3 : 1; }
};
INSTANTIATE_TEST_SUITE_P(Backends, MapLosses, testing::ValuesIn(backends()),
                         [](const auto& test) { return backend_name(test.param); });

namespace {

struct Maps {
  int64_t images, height, width, channels, of_teacher;
};

// One position, one channel, one image; more positions than channels and fewer; no size divides another.
constexpr Maps kMaps[] = {{1, 1, 1, 1, 1}, {1, 3, 5, 7, 4},   {3, 2, 2, 37, 11}, {2, 5, 3, 9, 40},
                          {2, 1, 3, 8, 8}, {1, 7, 7, 16, 24}, {70, 2, 1, 3, 5},  {1, 2, 9, 50, 70}};

}  // namespace

TEST_P(MapLosses, MeanDifferences) {
  for (Shape shape : {Shape{1}, Shape{3, 5}, Shape{2, 3, 3, 7}, Shape{70, 257}}) {
    for (const bool squares : {true, false}) {
      SCOPED_TRACE(shape.str());
      Twin student = normal(shape, compute(), 1), teacher = normal(shape, compute(), 2);
      Twin loss = output({1}, accumulator()), ds = output(shape, compute());
      both([&](const Kernels& k, Context& c, int side) {
        (squares ? k.mse_loss : k.l1_loss)(c, student[side], teacher[side], loss[side], ds[side]);
      });
      expect_close(loss);
      expect_close(ds, of_small(20));
    }
  }
}

// Views that begin between the addresses where vectors can be loaded.
TEST_P(MapLosses, ViewsOfAnyAlignment) {
  for (const bool squares : {true, false}) {
    Twin students = normal({400}, compute(), 1), teachers = normal({400}, compute(), 2), all = output({400}, compute());
    Twin loss = output({1}, accumulator()), ds;
    both([&](const Kernels& k, Context& c, int side) {
      const Tensor student = students[side].view(1, {9, 37}), teacher = teachers[side].view(3, {9, 37});
      ds[side] = all[side].view(1, {9, 37});
      (squares ? k.mse_loss : k.l1_loss)(c, student, teacher, loss[side], ds[side]);
    });
    expect_close(loss);
    expect_close(ds, of_small(20));
    EXPECT_TRUE(std::isnan(all[0].to_doubles()[0]));
    EXPECT_TRUE(std::isnan(all[0].to_doubles()[334]));
  }
}

TEST_P(MapLosses, TheSameInputsGiveTheSameBytes) {
  const Shape shape{3, 5, 4, 24};
  const Twin student = normal(shape, compute(), 1), teacher = normal(shape, compute(), 2);
  const Twin spread = normal({24}, accumulator(), 3);
  std::vector<double> first;
  for (int run = 0; run < 2; ++run) {
    const Kernels& k = kernels(backend_.device);
    Context& c = context(backend_.device);
    Twin loss = constant(0, {1}, accumulator()), ds = output(shape, compute()), dv = constant(0, {24}, accumulator());
    std::vector<double> all;
    const auto keep = [&] {
      for (const Tensor& y : {loss.sides[0], ds.sides[0], dv.sides[0]})
        for (const double value : y.to_doubles()) all.push_back(value);
    };
    for (const auto kernel : {k.mse_loss, k.l1_loss, k.attention_transfer_loss, k.nst_loss}) {
      kernel(c, student.sides[0], teacher.sides[0], loss[0], ds[0]);
      keep();
    }
    k.vid_loss(c, 1e-5f, student.sides[0], spread.sides[0], teacher.sides[0], loss[0], ds[0], dv[0]);
    keep();
    if (run == 0) first = all;
    EXPECT_EQ(all, first);
  }
}

// A difference of zero has no sign.
TEST_P(MapLosses, L1OfEqualMaps) {
  Twin x = normal({3, 7}, compute(), 1), loss = output({1}, accumulator()), dx = output({3, 7}, compute());
  both([&](const Kernels& k, Context& c, int side) { k.l1_loss(c, x[side], x[side], loss[side], dx[side]); });
  expect_equal(loss);
  expect_equal(dx);
}

TEST_P(MapLosses, AttentionTransfer) {
  for (const Maps& m : kMaps) {
    const Shape shape{m.images, m.height, m.width, m.channels}, of_teacher{m.images, m.height, m.width, m.of_teacher};
    SCOPED_TRACE(shape.str());
    Twin student = normal(shape, compute(), 1), teacher = normal(of_teacher, compute(), 2);
    Twin loss = output({1}, accumulator()), ds = output(shape, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.attention_transfer_loss(c, student[side], teacher[side], loss[side], ds[side]);
    });
    if (m.height * m.width == 1) {  // a map of one position is 1: only rounding is left
      EXPECT_NEAR(loss[0].item(), 0, 1e-12);
      continue;
    }
    expect_close(loss);
    expect_close(ds, of_small(100));
  }
}

TEST_P(MapLosses, NeuronSelectivity) {
  for (const Maps& m : kMaps) {
    const Shape shape{m.images, m.height, m.width, m.channels}, of_teacher{m.images, m.height, m.width, m.of_teacher};
    SCOPED_TRACE(shape.str());
    Twin student = normal(shape, compute(), 1), teacher = normal(of_teacher, compute(), 2);
    Twin loss = output({1}, accumulator()), ds = output(shape, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.nst_loss(c, student[side], teacher[side], loss[side], ds[side]);
    });
    if (m.height * m.width == 1) {  // columns of one element are signs
      EXPECT_NEAR(loss[0].item(), loss[1].item(), 1e-5);
      continue;
    }
    expect_close(loss);
    expect_close(ds, of_small(100));
  }
}

// Channels and images of zeros, as after a ReLU, have no direction and no gradient.
TEST_P(MapLosses, MapsOfZeros) {
  const Shape shape{2, 2, 3, 5};
  std::vector<double> values = random_tensor(shape, DType::f64, Device::reference, 1).to_doubles();
  for (size_t i = 0; i < values.size(); ++i)
    if (i >= 30 || i % 5 == 2) values[i] = 0;
  Twin student = twin(values, shape, compute()), teacher = normal(shape, compute(), 2);
  Twin loss = output({1}, accumulator()), ds = output(shape, compute());
  both([&](const Kernels& k, Context& c, int side) {
    k.attention_transfer_loss(c, student[side], teacher[side], loss[side], ds[side]);
  });
  expect_close(loss);
  for (const double value : ds[0].to_doubles()) EXPECT_TRUE(std::isfinite(value));
  if (compute() == DType::f16) return;  // 1 / smallest norm exceeds the range of f16
  both([&](const Kernels& k, Context& c, int side) {
    k.nst_loss(c, student[side], teacher[side], loss[side], ds[side]);
  });
  expect_close(loss);
  for (const double value : ds[0].to_doubles()) EXPECT_TRUE(std::isfinite(value));
}

TEST_P(MapLosses, VariationalInformation) {
  for (Shape shape : {Shape{1, 1, 1, 1}, Shape{3, 2, 3, 5}, Shape{70, 1, 1, 33}, Shape{2, 7, 5, 24}}) {
    SCOPED_TRACE(shape.str());
    const int64_t channels = shape.back();
    Twin mean = normal(shape, compute(), 1), teacher = normal(shape, compute(), 2);
    Twin spread = normal({channels}, accumulator(), 3, 4), dspread = normal({channels}, accumulator(), 4, 1e-3);
    Twin loss = output({1}, accumulator()), dmean = output(shape, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.vid_loss(c, 1e-5f, mean[side], spread[side], teacher[side], loss[side], dmean[side], dspread[side]);
    });
    expect_close(loss, 10);  // the logarithms have either sign
    expect_close(dmean, of_small(20));
    expect_close(dspread, 10);
  }
}

}  // namespace coss::test
