// Both solvers use the engine's matmul, cross-entropy and SGD kernels on cached features.
#include "evaluation/linear_probe.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/sampler.h"
#include "engine/finite.h"
#include "engine/kernels.h"
#include "engine/philox.h"
#include "evaluation/lbfgs.h"
#include "evaluation/ranks.h"

namespace coss {
namespace {

// Some rows of the features, on the device.
struct LabeledRows {
  Tensor features, labels;  // (N,D) f32, (N) i32
  int64_t count() const { return labels.numel(); }
};

LabeledRows gather(const Features& from, const std::vector<int64_t>& rows, Device device) {
  std::vector<float> values;
  std::vector<int32_t> labels;
  values.reserve(rows.size() * size_t(from.width));
  for (const int64_t row : rows) {
    values.insert(values.end(), from.values.begin() + row * from.width, from.values.begin() + (row + 1) * from.width);
    labels.push_back(from.labels[size_t(row)]);
  }
  const int64_t n = int64_t(rows.size());
  return {Tensor::from(values, {n, from.width}, device), Tensor::from(labels, {n}, device)};
}

std::vector<int64_t> all_rows(const Features& features) {
  std::vector<int64_t> rows(size_t(features.rows));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

// A linear classifier: weight (K,D) and bias (K) in one flat tensor, and their gradient in another.
class LinearClassifier {
 public:
  LinearClassifier(int64_t classes, int64_t width, Device device)
      : device_(device),
        parameters_({classes * (width + 1)}, DType::f32, device),
        gradient_(parameters_.shape(), DType::f32, device),
        weight_(parameters_.view(0, {classes, width})),
        bias_(parameters_.view(classes * width, {classes})),
        weight_gradient_(gradient_.view(0, {classes, width})),
        bias_gradient_(gradient_.view(classes * width, {classes})),
        loss_({1}, DType::f32, device) {
    kernels(device).fill(context(device), 0, parameters_);
    kernels(device).fill(context(device), 0, gradient_);
  }

  Tensor& parameters() { return parameters_; }
  Tensor& weight() { return weight_; }
  Tensor& gradient() { return gradient_; }
  int64_t classes() const { return bias_.numel(); }

  Tensor logits(const Tensor& features) const {
    Tensor out({features.shape()[0], classes()}, DType::f32, device_);
    kernels(device_).matmul(context(device_), {.transpose_b = true}, features, weight_, bias_, out);
    return out;
  }
  // Returns the mean cross-entropy and adds its gradient to gradient().
  Tensor& loss(const LabeledRows& rows) {
    const Tensor z = logits(rows.features);
    Tensor dz(z.shape(), DType::f32, device_);
    Context& ctx = context(device_);
    const Kernels& k = kernels(device_);
    k.cross_entropy(ctx, z, rows.labels, loss_, dz);
    k.matmul(ctx, {.transpose_a = true, .beta = 1}, dz, rows.features, Tensor(), weight_gradient_);
    k.sum_rows(ctx, 1, dz, bias_gradient_);
    return loss_;
  }

 private:
  Device device_;
  Tensor parameters_, gradient_, weight_, bias_, weight_gradient_, bias_gradient_, loss_;
};

LinearProbeResult score(const LinearClassifier& classifier, const LabeledRows& rows) {
  const std::vector<float> logits = classifier.logits(rows.features).to_vector<float>();
  const std::vector<int32_t> labels = rows.labels.to_vector<int32_t>();
  COSS_CHECK(
      not_finite(logits.data(), int64_t(logits.size())).count == 0,
      "linear probe: the trained classifier's outputs are not finite: its training diverged; use a lower --lr or "
      "--solver lbfgs");
  LinearProbeResult result;
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* row = logits.data() + int64_t(i) * classifier.classes();
    const int64_t rank = rank_of_label(row, classifier.classes(), labels[i]);
    result.top1 += 100.0 * double(rank < 1) / double(labels.size());
    result.top5 += 100.0 * double(rank < 5) / double(labels.size());
  }
  return result;
}

LinearProbeResult by_sgd(const Features& train, const Features& test, int64_t classes,
                         const LinearProbeOptions& options) {
  constexpr int64_t kBatch = 256;
  Context& ctx = context(options.device);
  const Kernels& k = kernels(options.device);
  LinearClassifier classifier(classes, train.width, options.device);
  k.random_normal(ctx, options.seed, 0, 0.0f, 0.01f, classifier.weight());
  Tensor momentum(classifier.parameters().shape(), DType::f32, options.device), none;
  k.fill(ctx, 0, momentum);
  ShuffledSampler sampler(train.rows, std::min(kBatch, train.rows), options.seed);
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    float rate = options.learning_rate;
    if (epoch >= options.epochs * 6 / 10) rate *= 0.1f;
    if (epoch >= options.epochs * 8 / 10) rate *= 0.1f;
    std::vector<float> values(kScalarCount, 0.0f);
    values[kLearningRate] = rate;
    values[kGradScale] = 1;
    const Tensor scalars = Tensor::from(values, {kScalarCount}, options.device);
    for (int64_t number = 0; number < sampler.batches_per_epoch(); ++number) {
      classifier.loss(gather(train, sampler.batch(epoch, number), options.device));
      k.sgd_step(ctx, {.momentum = 0.9f, .weight_decay = 0, .nesterov = false}, scalars, classifier.gradient(),
                 momentum, classifier.parameters(), none);
    }
  }
  return score(classifier, gather(test, all_rows(test), options.device));
}

// Minimizes the mean cross-entropy of the rows plus penalty / 2 * |weight|^2, from the classifier's current values.
void fit(LinearClassifier& classifier, const LabeledRows& rows, double penalty, Device device) {
  const int64_t weights = classifier.weight().numel();
  std::vector<double> x = classifier.parameters().to_doubles();
  auto put = [&](const std::vector<double>& at) {
    const std::vector<float> single(at.begin(), at.end());
    kernels(device).upload(context(device), single.data(), classifier.parameters());
  };
  minimize(
      [&](const std::vector<double>& at, std::vector<double>& gradient) {
        put(at);
        kernels(device).fill(context(device), 0, classifier.gradient());
        double value = classifier.loss(rows).item();
        gradient = classifier.gradient().to_doubles();
        for (size_t i = 0; i < size_t(weights); ++i) {
          value += 0.5 * penalty * at[i] * at[i];
          gradient[i] += penalty * at[i];
        }
        return value;
      },
      x);
  put(x);
}

LinearProbeResult by_lbfgs(const Features& train, const Features& test, int64_t classes,
                           const LinearProbeOptions& options) {
  std::vector<int64_t> order = all_rows(train);
  RandomStream random(options.seed, RandomUse::order);
  for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[random.below(uint32_t(i + 1))]);
  const size_t held_out = std::max<size_t>(1, order.size() * 3 / 10);
  const LabeledRows validation = gather(train, {order.begin(), order.begin() + int64_t(held_out)}, options.device);
  const LabeledRows fitting = gather(train, {order.begin() + int64_t(held_out), order.end()}, options.device);
  COSS_CHECK(fitting.count() > 0, "linear probe: too few training images");

  // The penalties are tried from the strongest to the weakest; each fit starts at the result of the last one. The
  // published grid is one of C = 1 / (penalty on the sum over images), so a penalty per image is divided by their
  // number.
  double best_penalty = 0, best = -1;
  LinearClassifier sweep(classes, train.width, options.device);
  for (int i = options.penalties - 1; i >= 0; --i) {
    const double exponent = options.penalties > 1 ? -6 + 11.0 * i / (options.penalties - 1) : -2.0;
    const double penalty = std::pow(10.0, exponent);
    fit(sweep, fitting, penalty / double(fitting.count()), options.device);
    const double accuracy = score(sweep, validation).top1;
    if (accuracy > best) {
      best = accuracy;
      best_penalty = penalty;
    }
  }
  LinearClassifier final_classifier(classes, train.width, options.device);
  const LabeledRows everything = gather(train, all_rows(train), options.device);
  fit(final_classifier, everything, best_penalty / double(train.rows), options.device);
  LinearProbeResult result = score(final_classifier, gather(test, all_rows(test), options.device));
  result.penalty = best_penalty;
  return result;
}

}  // namespace

LinearProbeResult linear_probe(const Features& train, const Features& test, const LinearProbeOptions& options) {
  COSS_CHECK(train.width == test.width, "linear probe: training and test features differ in width");
  int32_t classes = 0;
  for (const Features* side : {&train, &test})
    for (const int32_t label : side->labels) {
      COSS_CHECK(label >= 0,
                 "a linear probe needs labels: use class folders, a list file with labels, or CIFAR binaries");
      classes = std::max(classes, label + 1);
    }
  if (options.solver == "sgd") return by_sgd(train, test, classes, options);
  COSS_CHECK(options.solver == "lbfgs", "unknown solver '" + options.solver + "': use sgd or lbfgs");
  return by_lbfgs(train, test, classes, options);
}

}  // namespace coss
