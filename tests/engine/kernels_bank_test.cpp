// CRD's memory banks: the contrast and the update against the reference, and the properties of the draws.
#include <algorithm>
#include <numeric>

#include "engine/math/bank.h"
#include "tests/engine/kernel_test.h"

namespace coss::test {
namespace {

class BankSuite : public KernelTest {
 protected:
  Twin unit_rows(int64_t rows, int64_t width, uint64_t seed) const {
    std::vector<double> values = random_tensor({rows, width}, DType::f64, Device::reference, seed).to_doubles();
    for (int64_t r = 0; r < rows; ++r) {
      double squares = 0;
      for (int64_t d = 0; d < width; ++d) squares += std::pow(values[size_t(r * width + d)], 2);
      for (int64_t d = 0; d < width; ++d) values[size_t(r * width + d)] /= std::sqrt(squares);
    }
    return twin(values, {rows, width}, DType::f32);
  }
  Twin whole(const std::vector<double>& values) const { return twin(values, {int64_t(values.size())}, DType::i32); }
};
// All tensors have the accumulator's dtype, so f32 is the only one.
std::vector<Backend> f32_backends() {
  std::vector<Backend> list = backends();
  std::erase_if(list, [](const Backend& backend) { return backend.compute != DType::f32; });
  return list;
}
INSTANTIATE_TEST_SUITE_P(Backends, BankSuite, testing::ValuesIn(f32_backends()),
                         [](const auto& test) { return backend_name(test.param); });
COSS_KERNEL_SUITE(CutmixSuite);

struct BankCase {
  int64_t rows, width, images, classes, negatives;
  bool relaxed, first;
};

TEST_P(BankSuite, Contrast) {
  for (const BankCase& of : {BankCase{1, 5, 23, 3, 7, false, true}, BankCase{7, 128, 311, 10, 100, true, false},
                             BankCase{70, 37, 50, 4, 61, false, true}, BankCase{3, 130, 40, 1, 9, false, true},
                             BankCase{2, 16, 90, 2, 300, true, true}}) {
    std::vector<double> begin{0}, order(size_t(of.images)), labels, indices;
    // Classes of different sizes. The kernel does not depend on which images belong to which class.
    for (int64_t c = 1; c <= of.classes; ++c)
      begin.push_back(c == of.classes ? double(of.images)
                                      : std::floor(double(of.images * c * c) / double(of.classes * of.classes)));
    std::iota(order.begin(), order.end(), 0);
    std::reverse(order.begin(), order.end());
    for (int64_t i = 0; i < of.rows; ++i) {
      labels.push_back(double(i % of.classes));
      indices.push_back(double(i * 7 % of.images));
    }
    Twin step = twin({5}, {1}, DType::i64), index = whole(indices), label = whole(labels);
    Twin by_class = whole(order), classes = whole(begin);
    Twin student = unit_rows(of.rows, of.width, 1), teacher = unit_rows(of.rows, of.width, 2);
    Twin student_bank = unit_rows(of.images, of.width, 3), teacher_bank = unit_rows(of.images, of.width, 4);
    Twin constants = of.first ? constant(0, {2}, DType::f32) : twin({900, 700}, {2}, DType::f32);
    Twin terms = output({3}, DType::f32), dstudent = output({of.rows, of.width}, DType::f32),
         dteacher = output({of.rows, of.width}, DType::f32);
    const BankContrastParams p{of.negatives, 0.3f, of.relaxed, 77};
    both([&](const Kernels& k, Context& ctx, int side) {
      k.bank_contrast(ctx, p, step[side], index[side], label[side], by_class[side], classes[side], student[side],
                      teacher[side], student_bank[side], teacher_bank[side], constants[side], terms[side],
                      dstudent[side], dteacher[side]);
    });
    for (Twin* y : {&constants, &terms, &dstudent, &dteacher}) expect_close(*y);
  }
}

TEST_P(BankSuite, UpdateTakesTheLastOfTwo) {
  Twin rows = unit_rows(5, 37, 1), index = whole({3, 8, 3, 0, 8});
  Twin bank = unit_rows(9, 37, 2);
  const std::vector<double> before = bank[0].to_doubles();
  both(
      [&](const Kernels& k, Context& ctx, int side) { k.bank_update(ctx, 0.5f, rows[side], index[side], bank[side]); });
  expect_close(bank);
  const std::vector<double> after = bank[0].to_doubles();
  for (size_t i = 0; i < after.size(); ++i) {
    const size_t image = i / 37;
    EXPECT_EQ(after[i] == before[i], image != 3 && image != 8 && image != 0) << i;
  }
}

TEST_P(CutmixSuite, Mixes) {
  for (const Shape shape : {Shape{3, 9, 7, 3}, Shape{1, 1, 1, 3}, Shape{2, 32, 32, 3}})
    for (int64_t now = 0; now < 6; ++now) {
      Twin step = twin({double(now)}, {1}, DType::i64), a = normal(shape, compute(), 1),
           b = normal(shape, compute(), 2);
      Twin y = output(shape, compute()), share = output({1}, accumulator());
      const CutmixParams p{now % 2 ? 0.4f : 2.0f, 3};
      both([&](const Kernels& k, Context& ctx, int side) {
        k.cutmix(ctx, p, step[side], a[side], b[side], y[side], share[side]);
      });
      expect_equal(y);
      expect_close(share);
      EXPECT_GE(share[0].item(), 0);
      EXPECT_LE(share[0].item(), 1);
    }
}

// The draws of a row repeat no image before all have come, and none is of the row's own class.
TEST(NegativeDraws, ArePermutationsOfTheOthers) {
  for (const int32_t images : {2, 3, 17, 1000}) {
    const int32_t begin = images / 3, end = images / 2 + 1;
    const NegativeDraw draw(9, 4, 1, begin, end, images);
    ASSERT_EQ(draw.count(), uint32_t(images - end + begin));
    for (uint32_t pass = 0; pass < 2; ++pass) {
      std::vector<uint32_t> places;
      for (uint32_t j = 0; j < draw.count(); ++j) places.push_back(draw.place(pass * draw.count() + j));
      std::sort(places.begin(), places.end());
      for (uint32_t j = 0; j < draw.count(); ++j)
        EXPECT_EQ(places[j], j < uint32_t(begin) ? j : j + uint32_t(end - begin));
    }
    EXPECT_GE(draw.positive_place(), uint32_t(begin));
    EXPECT_LT(draw.positive_place(), uint32_t(end));
  }
}

// Over many rows the images are drawn about equally often: chi squared with 99 degrees of freedom is below 160.
TEST(NegativeDraws, AreEven) {
  constexpr int kRows = 4000, kDraws = 10, kImages = 100;
  std::vector<int> first(kImages), all(kImages), pairs(kImages);
  for (int64_t row = 0; row < kRows; ++row) {
    const NegativeDraw draw(1, row / 64, row % 64, 0, 0, kImages);
    ++first[draw.place(0)];
    ++pairs[(draw.place(1) + kImages - draw.place(0)) % kImages];
    for (uint32_t j = 0; j < kDraws; ++j) ++all[draw.place(j)];
  }
  auto chi = [](const std::vector<int>& counts, double expected) {
    double total = 0;
    for (const int count : counts) total += std::pow(count - expected, 2) / expected;
    return total;
  };
  EXPECT_LT(chi(first, kRows / double(kImages)), 160);
  EXPECT_LT(chi(all, kRows * kDraws / double(kImages)), 160);
  pairs.erase(pairs.begin());  // two draws of a row are never equal
  EXPECT_LT(chi(pairs, kRows / double(kImages - 1)), 160);
}

}  // namespace
}  // namespace coss::test
