// Every recipe starts: with images, and weights of the right names and shapes, a whole step of it has all its plans.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "formats/weights.h"
#include "tests/support/support.h"
#include "tools/drawn_images.h"
#include "training/recipe.h"
#include "training/trainer.h"

namespace coss {
namespace {

namespace fs = std::filesystem;

// A data set with as many images as the largest batch, of this many classes. All are links to one image.
std::string many_images(const std::string& folder, int classes) {
  constexpr int kImages = 4100;
  const std::string data = folder + "/data" + std::to_string(classes), drawn = data + "_drawn";
  if (fs::exists(data)) return data;
  draw_folder({.classes = 2, .per_class = 1, .test_per_class = 1, .size = 32, .seed = 1}, drawn);
  fs::path image;
  for (const auto& entry : fs::recursive_directory_iterator(drawn))
    if (entry.is_regular_file()) image = entry.path();
  for (const char* split : {"train", "val"})
    for (int c = 0; c < classes; ++c) {
      const fs::path place = fs::path(data) / split / std::to_string(c);
      fs::create_directories(place);
      for (int i = 0; i < (split == std::string("train") ? kImages / classes : 1); ++i)
        fs::create_symlink(image, place / (std::to_string(i) + ".jpg"));
    }
  return data;
}

// A file of zeros with the names and shapes of the model and of a projection head. It is a header and a hole, which
// takes no room on the disk.
std::string zero_weights(const std::string& folder, const std::string& model, bool with_head) {
  const std::string path = folder + "/" + model + (with_head ? "_head" : "") + ".safetensors";
  if (fs::exists(path)) return path;
  const ModelInfo& info = find_model(model);
  Params params;
  const auto network = info.make(Scope(params), info.classes);
  std::vector<WantedTensor> tensors = wanted_tensors(params, "", nullptr);
  const int64_t width = network->feature_width;
  if (with_head) {
    tensors.push_back({"head.0.weight", {width, width}, false});
    tensors.push_back({"head.0.bias", {width}, false});
    tensors.push_back({"head.2.weight", {128, width}, false});
    tensors.push_back({"head.2.bias", {128}, false});
  }
  nlohmann::ordered_json header{{"__metadata__", {{"model", model}}}};
  int64_t end = 0;
  for (const WantedTensor& tensor : tensors) {
    int64_t bytes = 2;
    for (const int64_t size : tensor.shape) bytes *= size;
    header[tensor.name] = {{"dtype", "BF16"}, {"shape", tensor.shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file << text;
  file.close();
  fs::resize_file(path, sizeof(length) + length + uint64_t(end));
  return path;
}

std::vector<fs::path> recipes() {
  std::vector<fs::path> all;
  for (const auto& entry : fs::directory_iterator(fs::path(COSS_GOLDENS) / "../../recipes"))
    if (entry.path().extension() == ".json") all.push_back(entry.path());
  std::sort(all.begin(), all.end());
  return all;
}

void expect_start(const fs::path& recipe, const std::string& folder) {
  const std::string name = recipe.filename().string();
  SCOPED_TRACE(name);
  const int classes = name.find("cifar10.") == std::string::npos ? 100 : 10;  // the logits of teachers for CIFAR
  std::vector<std::string> overrides{"data.path=" + many_images(folder, classes)};
  const auto json = nlohmann::json::parse(std::ifstream(recipe), nullptr, true, /*ignore_comments=*/true);
  EXPECT_FALSE(json.contains("dtype")) << "the device chooses";
  const std::string teacher = json.value("/teacher/model"_json_pointer, "");
  if (!teacher.empty()) overrides.push_back("teacher.weights=unknown yet");
  Config config = load_config(recipe.string(), overrides);
  if (!teacher.empty()) config.teacher.weights = zero_weights(folder, teacher, needs_teacher_head(config.method));
  config.device = "cpu";
  try {
    ResolvedRecipe recipe_here = resolve(config);
    recipe_here.device = Device::dry;
    Trainer trainer(std::move(recipe_here));
    EXPECT_GT(trainer.rehearse(), 0u);
  } catch (const std::exception& error) {
    ADD_FAILURE() << error.what();
  }
}

// The recipes are tested in four parts, so that none takes too long.
class EveryRecipe : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Parts, EveryRecipe, testing::Range(0, 4));

TEST_P(EveryRecipe, Starts) {
  const std::string folder = test::scratch_folder();
  const std::vector<fs::path> all = recipes();
  ASSERT_GT(all.size(), 100u);
  for (size_t i = size_t(GetParam()); i < all.size(); i += 4) expect_start(all[i], folder);
}

}  // namespace
}  // namespace coss
