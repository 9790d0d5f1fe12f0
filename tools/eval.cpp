// `coss eval classify|knn|linear`: three ways to grade a network.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/subset.h"
#include "engine/print.h"
#include "evaluation/knn.h"
#include "evaluation/linear_probe.h"
#include "evaluation/ranks.h"
#include "tools/commands.h"
#include "tools/evaluation_options.h"

namespace coss {
namespace {

using Json = nlohmann::ordered_json;

double two_decimals(double percent) { return std::round(percent * 100) / 100; }

void show_result(const CommonOptions& common, const Json& result, const std::string& text) {
  print("{}\n", common.json ? result.dump() : text);
}

void run_classify(const EvaluationOptions& options) {
  apply(options.common);
  const auto network = options.network(Classifier::required);
  const auto dataset = open_dataset(options.data, Split::test);
  COSS_CHECK(dataset->classes() > 0, options.data.path + " has no labels to compare with");
  COSS_CHECK(dataset->classes() <= (*network)->classes,
             fmt::format("{} has {} classes, the classifier of {} only {}", options.data.path, dataset->classes(),
                         options.weights, (*network)->classes));
  FeatureOptions features = options.features(*network, "images");
  features.logits = true;
  const Features logits =
      extract_features(**network, *dataset, options.common.place(), options.common.compute(), features);
  int64_t top1 = 0, top5 = 0;
  for (int64_t i = 0; i < logits.rows; ++i) {
    const float* row = logits.values.data() + i * logits.width;
    const int64_t rank = rank_of_label(row, logits.width, logits.labels[size_t(i)]);
    top1 += rank < 1;
    top5 += rank < 5;
  }
  const double first = two_decimals(100.0 * double(top1) / double(logits.rows));
  const double fifth = two_decimals(100.0 * double(top5) / double(logits.rows));
  show_result(options.common, {{"top1", first}, {"top5", fifth}, {"images", logits.rows}},
              fmt::format("top-1 {:.2f} %  top-5 {:.2f} %  ({} images)", first, fifth, logits.rows));
}

// One line that says which images are for training and which for tests; leave-one-out has no test images.
std::string line_of(const TrainAndTest& data, const DataSource& source) {
  const int64_t train = data.train->size();
  if (!data.test) return fmt::format("{} images of {}, each graded by all others (leave-one-out)", train, source.path);
  const std::string both = fmt::format("{} training and {} test images", train, data.test->size());
  if (source.held_out > 0)
    return fmt::format("{} of {}: {} of each class held out, seed {}", both, source.path, source.held_out, source.seed);
  const auto own = own_split(source.test.empty() ? source.path : source.test);
  if (source.test.empty()) return fmt::format("{} of {}: {} and {}", both, source.path, own->train, own->test);
  return fmt::format("{}: {} and {}{}", both, source.path, source.test, own ? ", its " + own->test : "");
}

TrainAndTest open_graded(const DataSource& source, bool leave_one_out, const std::string& ways_out) {
  TrainAndTest data;
  if (leave_one_out || !has_test_images(source))
    data.train = open_dataset(source, Split::train);
  else
    data = open_both(source);
  COSS_CHECK(data.train->classes() > 0, source.path + " has no labels to compare with");
  COSS_CHECK(leave_one_out || data.test,
             fmt::format("{} is not split into training and test images, and training images must not grade "
                         "themselves: add {}",
                         source.path, ways_out));
  if (leave_one_out) check_unique(*data.train);
  print(stderr, "{}\n", line_of(data, source));
  return data;
}

constexpr const char* kSplits = "--test PATH (another folder or list), --split 0.2 (holds out a share of each class)";

Features features_of(const EvaluationOptions& options, const LoadedNetwork& network, const Dataset& dataset,
                     const std::string& label) {
  return extract_features(*network, dataset, options.common.place(), options.common.compute(),
                          options.features(network, label));
}

// `chosen`: --k was given; of the usual numbers those that are too many are cut.
void run_knn(const EvaluationOptions& options, KnnOptions knn, bool chosen) {
  apply(options.common);
  knn.device = options.common.place();
  const TrainAndTest data =
      open_graded(options.data, knn.leave_one_out,
                  std::string(kSplits) + " or --leave-one-out (each image is graded by all others)");
  const auto network = options.network(Classifier::optional);
  const Features train = features_of(options, *network, *data.train, "training images");
  const int64_t voters = train.rows - (knn.leave_one_out ? 1 : 0);
  for (const int64_t k : knn.k)
    COSS_CHECK(!chosen || k <= voters, fmt::format("--k {} is more than the {} images that can vote", k, voters));
  Json result;
  std::string text;
  std::map<int64_t, double> accuracies;
  if (knn.leave_one_out) {
    result["leave_one_out"] = true;
    text = fmt::format("kNN, leave-one-out on {} images, T = {}", train.rows, knn.temperature);
    accuracies = knn_accuracy(train, train, knn);
  } else {
    const Features test = features_of(options, *network, *data.test, "test images");
    text = fmt::format("kNN on {} training and {} test images, T = {}", train.rows, test.rows, knn.temperature);
    accuracies = knn_accuracy(train, test, knn);
  }
  for (const auto& [k, accuracy] : accuracies) {
    result["knn"][std::to_string(k)] = two_decimals(accuracy);
    text += fmt::format("\n  k = {:<4} {:.2f} %", k, accuracy);
  }
  show_result(options.common, result, text);
}

void run_linear(const EvaluationOptions& options, LinearProbeOptions probe) {
  apply(options.common);
  probe.device = options.common.place();
  const TrainAndTest data = open_graded(options.data, /*leave_one_out=*/false, kSplits);
  const auto network = options.network(Classifier::optional);
  const Features train = features_of(options, *network, *data.train, "training images");
  const Features test = features_of(options, *network, *data.test, "test images");
  const LinearProbeResult score = linear_probe(train, test, probe);
  Json result{{"linear", {{"top1", two_decimals(score.top1)}, {"top5", two_decimals(score.top5)}}}};
  std::string text = fmt::format("linear probe: top-1 {:.2f} %  top-5 {:.2f} %", score.top1, score.top5);
  if (probe.solver == "lbfgs") {
    result["linear"]["penalty"] = score.penalty;
    text += fmt::format("  (penalty {:.3g})", score.penalty);
  }
  show_result(options.common, result, text);
}

// Adds --test, --split and --split-seed. Returns the first two, of which only one can be given.
std::vector<CLI::Option*> add_test_images(CLI::App& command, DataSource& data) {
  CLI::Option* split = add_split(command, data);
  CLI::Option* test =
      command.add_option("--test", data.test, "test images, if --data is not split by itself: a folder or a list")
          ->type_name("PATH")
          ->excludes(split);
  return {test, split};
}

}  // namespace

void add_eval(CLI::App& program) {
  CLI::App& command = *program.add_subcommand("eval", "grade a network: its classifier, kNN, or a linear probe");
  command.require_subcommand(1);

  CLI::App& classify = *command.add_subcommand("classify", "grade the network's own classifier: top-1 and top-5");
  auto classify_options = std::make_shared<EvaluationOptions>();
  add_evaluation_options(classify, *classify_options);
  add_split(classify, classify_options->data);
  add_example(classify,
              "coss eval classify --model resnet20_cifar --weights resnet20-12fca82f.th "
              "--data cifar-10-batches-bin");
  classify.callback([=] { run_classify(*classify_options); });

  CLI::App& knn = *command.add_subcommand("knn", "grade frozen features by weighted nearest neighbors");
  auto knn_options = std::make_shared<EvaluationOptions>();
  auto knn_choice = std::make_shared<KnnOptions>();
  add_evaluation_options(knn, *knn_options);
  CLI::Option* leave_one_out =
      knn.add_flag("--leave-one-out", knn_choice->leave_one_out, "grade each training image by all others");
  for (CLI::Option* other : add_test_images(knn, knn_options->data)) leave_one_out->excludes(other);
  CLI::Option* k = knn.add_option("--k", knn_choice->k, "neighbors; several at once")
                       ->check(within(kNeighborBounds))
                       ->capture_default_str();
  knn.add_option("--temperature", knn_choice->temperature, "temperature T of the votes exp(cosine / T)")
      ->check(within(kTemperatureBounds))
      ->capture_default_str();
  add_example(knn,
              "coss eval knn --model resnet20_cifar --weights runs/cifar10/student.safetensors "
              "--data cifar-10-batches-bin --k 1 20");
  knn.callback([=] { run_knn(*knn_options, *knn_choice, k->count() > 0); });

  CLI::App& linear = *command.add_subcommand("linear", "grade frozen features by a linear classifier");
  auto linear_options = std::make_shared<EvaluationOptions>();
  auto probe = std::make_shared<LinearProbeOptions>();
  add_evaluation_options(linear, *linear_options);
  add_test_images(linear, linear_options->data);
  linear.add_option("--solver", probe->solver, "sgd: MoCo's protocol; lbfgs: logistic regression, penalty swept")
      ->check(CLI::IsMember({"sgd", "lbfgs"}))
      ->capture_default_str();
  linear.add_option("--epochs", probe->epochs, "sgd: passes; the rate drops tenfold at 60 % and 80 %")
      ->check(within({1, kEpochBounds.most}))
      ->capture_default_str();
  linear.add_option("--lr", probe->learning_rate, "sgd: learning rate")
      ->check(within({1e-12, kRateBounds.most}))
      ->capture_default_str();
  linear.add_option("--penalties", probe->penalties, "lbfgs: values tried, 1e-6 to 1e5")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  linear.add_option("--seed", probe->seed, "seed of order, initial values and validation split")->capture_default_str();
  add_example(linear,
              "coss eval linear --model resnet18 --weights runs/imagenette/student.safetensors "
              "--data imagenette --solver lbfgs");
  linear.callback([=] { run_linear(*linear_options, *probe); });
}

}  // namespace coss
