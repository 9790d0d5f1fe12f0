// `coss embed`: writes features and labels of a data set as .npy files.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "evaluation/signals.h"
#include "formats/npy.h"
#include "formats/outputs.h"
#include "tools/commands.h"
#include "tools/evaluation_options.h"

namespace coss {
namespace {

// A folder and its parents. Those that were made here and are still empty at the end are removed again.
class OutFolder {
 public:
  explicit OutFolder(const std::string& path) : made_(make_folders(path)) {}
  OutFolder(const OutFolder&) = delete;
  OutFolder& operator=(const OutFolder&) = delete;
  ~OutFolder() { remove_empty_folders(made_); }

 private:
  std::vector<std::filesystem::path> made_;
};

void run_embed(const EvaluationOptions& options, const std::string& subset, const std::string& out, bool force) {
  apply(options.common);
  const OutFolder folder(out);
  for (const char* file : {"/features.npy", "/labels.npy"})
    check_output(out + file, {options.weights, options.data.path}, force);
  const SignalScope signals;
  COSS_CHECK(subset == "train" || has_test_images(options.data),
             options.data.path +
                 " is not split into training and test images: add --split 0.2 to hold out a share, or " +
                 "take all images with --subset train");
  const auto dataset = open_dataset(options.data, subset == "train" ? Split::train : Split::test);
  const auto network = options.network(Classifier::optional);
  const int64_t size = dataset->size(), width = (*network)->feature_width;
  const WrittenFeatures written = write_features(**network, *dataset, options.common.place(), options.common.compute(),
                                                 options.features(*network, "images"), out + "/features.npy");
  write_npy(out + "/labels.npy", FileDType::i32, {size}, written.labels.data());
  if (options.common.json)
    fmt::print("{}\n", nlohmann::ordered_json{{"images", size},
                                              {"width", width},
                                              {"broken", written.broken},
                                              {"features", out + "/features.npy"},
                                              {"labels", out + "/labels.npy"}}
                           .dump());
  else
    fmt::print("{0}/features.npy: {1} x {2} floats; {0}/labels.npy; {3} broken images\n", out, size, width,
               written.broken);
}

}  // namespace

void add_embed(CLI::App& program) {
  CLI::App& command = *program.add_subcommand("embed", "write features and labels as .npy");
  auto options = std::make_shared<EvaluationOptions>();
  auto subset = std::make_shared<std::string>("train"), out = std::make_shared<std::string>();
  auto force = std::make_shared<bool>(false);
  add_evaluation_options(command, *options);
  add_split(command, options->data);
  command.add_option("--subset", *subset, "train or test images; of data that is not split, train is all images")
      ->check(CLI::IsMember({"train", "test"}))
      ->capture_default_str();
  command.add_option("--out", *out, "folder for features.npy and labels.npy")->required()->type_name("DIR");
  add_force(command, *force);
  add_example(command,
              "coss embed --model resnet50 --weights teacher.pth --data imagenette --subset train --out features");
  command.callback([=] { run_embed(*options, *subset, *out, *force); });
}

}  // namespace coss
