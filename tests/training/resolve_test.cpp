// What a recipe leaves open is settled once, and a continued run keeps what it was started with.
#include "training/resolve.h"

#include <gtest/gtest.h>

#include "formats/weights.h"
#include "tests/support/program.h"
#include "tests/support/support.h"
#include "training/recipe.h"

namespace coss {
namespace {

const char* const kRecipe = R"({"device": "cpu", "data": {"path": "images", "image_size": 32},
                                "method": {"name": "supervised"}, "student": {"model": "resnet8_rd"},
                                "train": {"batch": 48, "accumulate": 3}})";

// Weights of a small student that was trained on images of another normalization.
std::string student_weights() {
  const std::string path = test::scratch_folder() + "/student.safetensors";
  Params params;
  const auto network = find_model("resnet8_rd").make(Scope(params, "net"), 4);
  params.allocate(Device::cpu, DType::f32, 7);
  write_safetensors(path, weights_as_tensors(params, "net"), {{"image_mean", "0,0,0"}, {"image_stddev", "1,1,1"}});
  return path;
}

TEST(Resolve, SettlesWhatTheRecipeLeavesOpen) {
  const ResolvedRecipe recipe = resolve(parse_config(kRecipe, "recipe", {"dtype=bf16", "device=auto"}));
  EXPECT_EQ(recipe.config.device, name_of(recipe.device));
  EXPECT_EQ(recipe.dtype, DType::bf16);
  EXPECT_EQ(recipe.micro_batch, 16);
  EXPECT_EQ(recipe.micro_anchors, 16);
  EXPECT_EQ(recipe.views.size(), 1u);
  EXPECT_FALSE(recipe.teacher || recipe.student);
  // The complete recipe resolves to itself.
  const std::string text = to_json(recipe.config);
  EXPECT_EQ(to_json(resolve(parse_config(text, "config.json", {})).config), text);
}

TEST(Resolve, TheStudentsWeightsGiveTheNormalization) {
  const std::string weights = "student.weights=" + student_weights();
  const ResolvedRecipe recipe = resolve(parse_config(kRecipe, "recipe", {weights}));
  EXPECT_EQ(recipe.normalization, (Normalization{{0, 0, 0}, {1, 1, 1}}));
  ASSERT_TRUE(recipe.student);
  EXPECT_EQ(recipe.student->facts().classes, 4);
  const ResolvedRecipe said =
      resolve(parse_config(kRecipe, "recipe", {weights, "data.mean=0.1,0.2,0.3", "data.stddev=0.4,0.5,0.6"}));
  EXPECT_EQ(said.normalization, (Normalization{{0.1f, 0.2f, 0.3f}, {0.4f, 0.5f, 0.6f}}));
}

TEST(Resolve, AContinuedRunKeepsItsDtypeAndNormalization) {
  const std::string folder = test::scratch_folder();
  const Config started = resolve(parse_config(kRecipe, "recipe", {"dtype=bf16", "data.mean=0.1,0.2,0.3"})).config;
  test::write_file(folder + "/config.json", to_json(started));
  const ResolvedRecipe continued = resolve(parse_config(kRecipe, "recipe", {}), folder);
  EXPECT_TRUE(differences(started, continued.config).empty());
  EXPECT_EQ(continued.dtype, DType::bf16);
  EXPECT_EQ(resolve(parse_config(kRecipe, "recipe", {"dtype=fp32"}), folder).dtype, DType::f32);
}

}  // namespace
}  // namespace coss
