// CRD's contrast with memory banks: plain sums over the draws.
#include "engine/math/bank.h"

#include "tests/reference/access.h"

namespace coss::reference {

namespace {

double product(const double* a, const double* b, int64_t width) {
  double total = 0;
  for (int64_t d = 0; d < width; ++d) total += a[d] * b[d];
  return total;
}

// The images with whose bank rows row i is compared, the positive first.
std::vector<int32_t> drawn(const BankContrastParams& p, int64_t step, int64_t row, int32_t index, int32_t label,
                           const Tensor& order, const Tensor& begin) {
  const int32_t* by_class = order.data<int32_t>();
  const int32_t* first = begin.data<int32_t>() + label;
  const NegativeDraw draw(p.seed, step, row, first[0], first[1], int32_t(order.numel()));
  std::vector<int32_t> images{p.relaxed ? by_class[draw.positive_place()] : index};
  for (int64_t j = 0; draw.count() > 0 && j < p.negatives; ++j) images.push_back(by_class[draw.place(uint32_t(j))]);
  return images;
}

}  // namespace

void bank_contrast(Context&, const BankContrastParams& p, const Tensor& step, const Tensor& indices,
                   const Tensor& labels, const Tensor& order, const Tensor& begin, const Tensor& student,
                   const Tensor& teacher, const Tensor& student_bank, const Tensor& teacher_bank, Tensor& constants,
                   Tensor& terms, Tensor& dstudent, Tensor& dteacher) {
  const int64_t rows = student.shape()[0], width = student.shape()[1], images = order.numel();
  const double temperature = double(p.temperature), mu = double(p.negatives) / double(images), eps = kBankEps;
  std::vector<std::vector<int32_t>> lists;
  for (int64_t i = 0; i < rows; ++i)
    lists.push_back(
        drawn(p, step.data<int64_t>()[0], i, indices.data<int32_t>()[i], labels.data<int32_t>()[i], order, begin));
  for (int side = 0; side < 2; ++side) {
    const Tensor &own = side ? teacher : student, &bank = side ? student_bank : teacher_bank;
    double* gradients = out(side ? dteacher : dstudent);
    double& constant = out(constants)[side];
    auto score = [&](int64_t i, int32_t image) {
      return std::exp(product(in(own) + i * width, in(bank) + image * width, width) / temperature);
    };
    if (constant == 0) {
      double sum = 0, count = 0;
      for (int64_t i = 0; i < rows; ++i)
        for (const int32_t image : lists[size_t(i)]) sum += score(i, image), count += 1;
      constant = sum / count * double(images);
    }
    double loss = 0;
    for (int64_t i = 0; i < rows; ++i) {
      double* gradient = gradients + i * width;
      std::fill_n(gradient, width, 0.0);
      bool positive = true;
      for (const int32_t image : lists[size_t(i)]) {
        const double probability = score(i, image) / constant;
        loss -= std::log((positive ? probability : mu) / (probability + mu + eps));
        const double share = probability / (probability + mu + eps), slope = positive ? share - 1 : share;
        for (int64_t d = 0; d < width; ++d)
          gradient[d] += slope / temperature / double(rows) * in(bank)[image * width + d];
        positive = false;
      }
    }
    out(terms)[1 + side] = loss / double(rows);
  }
  out(terms)[0] = in(terms)[1] + in(terms)[2];
}

void bank_update(Context&, float momentum, const Tensor& rows, const Tensor& indices, Tensor& bank) {
  const int64_t count = rows.shape()[0], width = rows.shape()[1];
  const int32_t* index = indices.data<int32_t>();
  for (int64_t i = 0; i < count; ++i) {
    if (std::find(index + i + 1, index + count, index[i]) != index + count) continue;  // a later one counts
    double *place = out(bank) + index[i] * width, squares = 0;
    for (int64_t d = 0; d < width; ++d) {
      place[d] = double(momentum) * place[d] + (1 - double(momentum)) * in(rows)[i * width + d];
      squares += place[d] * place[d];
    }
    for (int64_t d = 0; d < width; ++d) place[d] /= std::max(std::sqrt(squares), 1e-12);
  }
}

}  // namespace coss::reference
