// Computes from our networks the figures that the goldens of models hold.
#include "tests/models/model_goldens.h"

#include <gtest/gtest.h>

#include <cmath>

namespace coss::test {
namespace {

// Keeps at most 64 columns, evenly spread.
std::vector<double> thinned(const Var& rows) {
  const std::vector<double> values = rows.value.to_doubles();
  const size_t width = size_t(rows.shape()[1]), step = (width + 63) / 64;
  std::vector<double> kept;
  for (size_t row = 0; row < values.size(); row += width)
    for (size_t column = 0; column < width; column += step) kept.push_back(values[row + column]);
  return kept;
}

// The mean and the root mean square of each stage.
std::vector<double> summary(const std::vector<Var>& stages) {
  std::vector<double> rows;
  for (const Var& stage : stages) {
    double sum = 0, squares = 0;
    for (const double value : stage.value.to_doubles()) sum += value, squares += value * value;
    const double count = double(stage.value.numel());
    rows.insert(rows.end(), {sum / count, std::sqrt(squares / count)});
  }
  return rows;
}

}  // namespace

Var weighted_sum(const Var& x, const Tensor& weights) {
  const std::vector<double> a = x.value.to_doubles(), b = weights.to_doubles();
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  Var loss = make_output(make_tensor({sum}, {1}, accumulator_of(x.value.dtype()), x.value.device()), {&x});
  Tape::active()->record(loss, [x, weights](const Tensor&) { accumulate(x, weights); });
  return loss;
}

NetworkMaker maker_of(const std::string& model) {
  const ModelInfo& info = find_model(model);
  return [&info](const Scope& scope) { return info.make(scope, info.classes); };
}

GoldenNetwork::GoldenNetwork(const GoldenFile& file, const std::string& name, const NetworkMaker& make, Device where,
                             DType type, Mode mode)
    : goldens(file), prefix(name + "/"), device(where), dtype(type) {
  network = make(Scope(params));
  params.allocate(device, dtype, 0, mode == Mode::eval);
  fill_golden_weights(params, "", 0, goldens.number(prefix + "gain"));
  size = int64_t(goldens.number(prefix + "size"));
}

double GoldenNetwork::error(std::vector<double> got, const std::string& key) const {
  const std::vector<double> golden = goldens.values(prefix + key);
  got.resize(golden.size());
  return normalized_error(got, golden);
}

void GoldenNetwork::expect_eval(double bound) {
  SCOPED_TRACE(prefix + name_of(device));
  std::vector<Var> stages;
  const Var images(golden_images("images", 2, size, 0, dtype, device));
  Tape tape;  // eval mode records nothing on it
  const Var features = network->features(images, Mode::eval, {}, &stages);
  EXPECT_FALSE(features.grad);
  EXPECT_LT(error(thinned(features), "eval/features"), bound);
  if (has("eval/logits")) {
    EXPECT_LT(error(thinned(network->logits(features, Mode::eval)), "eval/logits"), bound);
  }
  if (has("eval/stages")) {
    EXPECT_LT(error(summary(stages), "eval/stages"), bound);
  }
}

void GoldenNetwork::train(double bound, double loss_bound) {
  const Var images(golden_images("images", 4, size, 2, dtype, device));
  Tape tape;
  const Var features = network->features(images, Mode::train);
  EXPECT_LT(error(thinned(features), "train/features"), bound);
  Var target = features;
  if (has("train/logits")) {
    target = network->logits(features, Mode::train);
    EXPECT_LT(error(thinned(target), "train/logits"), bound);
  }
  const Tensor weights = make_tensor(golden_noise("loss", target.value.numel()), target.shape(), dtype, device);
  const Var loss = weighted_sum(target, weights);
  if (has("train/loss")) {
    EXPECT_LT(error(loss.value.to_doubles(), "train/loss"), loss_bound);
  }
  tape.backward(loss);
}

void GoldenNetwork::expect_train(double bound, double gradient_bound, double loss_bound) {
  SCOPED_TRACE(prefix + name_of(device));
  train(bound, loss_bound);
  for (const std::string& parameter : goldens.keys(prefix + "train/grad/")) {
    const Params::Entry& entry = find_entry(params, parameter);
    const std::vector<double> gradient = in_file_order(entry, entry.var->grad->value);
    double squares = 0;
    for (const double g : gradient) squares += g * g;
    EXPECT_LT(error({std::sqrt(squares)}, "train/grad_norm/" + parameter), gradient_bound) << parameter;
    EXPECT_LT(error(gradient, "train/grad/" + parameter), gradient_bound) << parameter;
  }
  for (const std::string& statistic : goldens.keys(prefix + "train/stat/"))
    EXPECT_LT(error(find_entry(params, statistic).stat->to_doubles(), "train/stat/" + statistic), bound) << statistic;
}

}  // namespace coss::test
