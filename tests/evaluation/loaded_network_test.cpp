// What a file says about itself reaches the network that is built from it.
#include "evaluation/loaded_network.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "formats/weights.h"
#include "tests/support/program.h"
#include "tests/support/support.h"

namespace coss {
namespace {

std::string write_network(const std::string& path, const std::string& model, int64_t classes,
                          const std::map<std::string, std::string>& metadata, const std::string& prefix = "") {
  Params params;
  const auto network = find_model(model).make(Scope(params, "net"), classes);
  params.allocate(Device::cpu, DType::f32, 7);
  std::vector<NamedTensor> tensors = weights_as_tensors(params, "net");
  for (NamedTensor& tensor : tensors) tensor.name = prefix + tensor.name;
  write_safetensors(path, tensors, metadata);
  return path;
}

TEST(LoadedNetwork, MetadataGivesNormalizationAndInterpolation) {
  const std::string path = write_network(test::scratch_folder() + "/w.safetensors", "resnet20_cifar", 3,
                                         {{"model", "resnet20_cifar"},
                                          {"image_mean", "0.48145466,0.4578275,0.40821073"},
                                          {"image_stddev", "0.26862954,0.26130258,0.27577711"},
                                          {"interpolation", "bicubic"}});
  const auto loaded = load_network(Checkpoint(path, "resnet20_cifar"), Classifier::required, Device::cpu, DType::f32);
  EXPECT_TRUE(loaded->bicubic);
  EXPECT_EQ((*loaded)->classes, 3);
  EXPECT_EQ(loaded->normalization.mean[0], 0.48145466f);
  EXPECT_EQ(loaded->model, "resnet20_cifar");
}

TEST(LoadedNetwork, ImagesOfAnotherNormalizationAreMapped) {
  const std::string path = write_network(test::scratch_folder() + "/w.safetensors", "resnet20_cifar", 3,
                                         {{"image_mean", "0,0,0"}, {"image_stddev", "1,1,1"}});
  const auto plain = load_network(Checkpoint(path, "resnet20_cifar"), Classifier::optional, Device::cpu, DType::f32);
  const auto mapped = load_network(Checkpoint(path, "resnet20_cifar"), Classifier::optional, Device::cpu, DType::f32);
  const Normalization given;
  mapped->take_images_of(given);
  EXPECT_NE(mapped->report.find("mapped"), std::string::npos) << mapped->report;
  std::vector<float> in_unit, normalized;
  for (size_t i = 0; i < 2 * 32 * 32 * 3; ++i) {
    in_unit.push_back(float(i * 7919 % 256) / 255);
    normalized.push_back((in_unit.back() - given.mean[i % 3]) / given.stddev[i % 3]);
  }
  const auto features = [&](LoadedNetwork& network, const std::vector<float>& pixels) {
    return network->features(Var(Tensor::from(pixels, {2, 32, 32, 3}, Device::cpu)), Mode::eval).value.to_doubles();
  };
  const std::vector<double> a = features(*plain, in_unit), b = features(*mapped, normalized);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-4 * (1 + std::abs(a[i]))) << i;
}

TEST(LoadedNetwork, FromNamesTheLayout) {
  const std::string path =
      write_network(test::scratch_folder() + "/w.safetensors", "resnet20_cifar", 3, {}, "state_dict.");
  const auto loaded =
      load_network(Checkpoint(path, "resnet20_cifar", "simclr-v1"), Classifier::optional, Device::cpu, DType::f32);
  EXPECT_EQ(loaded->normalization, (Normalization{{0, 0, 0}, {1, 1, 1}}));
  EXPECT_THROW(Checkpoint(path, "resnet20_cifar", "nonsense"), Error);
  const test::Outcome outcome =
      test::run_program("eval knn --model resnet20_cifar --weights " + path + " --from nonsense --data nowhere");
  EXPECT_EQ(outcome.code, 2);
}

TEST(LoadedNetwork, AVariantIsBuiltWhereTheFileWantsIt) {
  // Every variant that the table of models has, asked for by its plain name.
  const std::string folder = test::scratch_folder();
  for (const char* model : {"efficientnet_b0", "mobilenet_v3_small", "vit_small_patch16_224"}) {
    const std::string variant = variant_for(model, model[0] == 'e' ? "lukemelas" : model[0] == 'm' ? "timm" : "mocov3");
    if (variant == model) continue;
    const std::string path = write_network(folder + "/" + variant + ".safetensors", variant, 5, {{"model", variant}});
    const auto loaded = load_network(Checkpoint(path, model), Classifier::required, Device::cpu, DType::f32);
    EXPECT_EQ(loaded->model, variant);
    EXPECT_NE(loaded->report.find("built instead"), std::string::npos) << loaded->report;
    EXPECT_EQ(load_network(Checkpoint(path, variant), Classifier::required, Device::cpu, DType::f32)->model, variant);
  }
}

TEST(Checkpoint, FindsTheLargestNetworkAndItsHead) {
  const std::string path = test::scratch_folder() + "/w.safetensors";
  Params params;
  const auto network = find_model("resnet32_cifar").make(Scope(params, "net"), 3);
  params.allocate(Device::cpu, DType::f32, 7);
  std::vector<NamedTensor> tensors = weights_as_tensors(params, "net");
  tensors.push_back({"head.0.weight", FileDType::f32, {2, 64}, std::vector<uint8_t>(2 * 64 * 4)});
  write_safetensors(path, tensors, {{"model", "resnet32_cifar"}, {"classifier", "untrained"}});
  const Checkpoint checkpoint(path);
  EXPECT_EQ(checkpoint.facts().model, "resnet32_cifar");
  EXPECT_EQ(checkpoint.facts().classes, 3);
  EXPECT_EQ(checkpoint.facts().note, "");
  EXPECT_FALSE(checkpoint.facts().trained);
  EXPECT_THROW(load_network(checkpoint, Classifier::required, Device::cpu, DType::f32), Error);
  ASSERT_EQ(checkpoint.head_tensors().size(), 1u);
  EXPECT_EQ(checkpoint.head_tensors()[0].first, "0.weight");
  EXPECT_NE(load_head(checkpoint, Device::cpu, DType::f32), nullptr);

  // A student's own classifier keeps its first values, and the report says so.
  Params other;
  const auto student = find_model("resnet32_cifar").make(Scope(other, "student"), 5);
  other.allocate(Device::cpu, DType::f32, 8);
  const WeightReport report = checkpoint.load_into(other, "student", Classifier::optional);
  EXPECT_EQ(report.mismatched.size(), 2u) << report.str();
  EXPECT_EQ(report.matched, int64_t(other.entries().size()) - 2);
  EXPECT_THROW(checkpoint.load_into(other, "student", Classifier::required), Error);
}

// MoCo's file has its projection head where a ResNet has its classifier.
TEST(Checkpoint, AHeadIsNoClassifier) {
  const std::string path =
      write_network(test::scratch_folder() + "/w.safetensors", "resnet18", 128, {}, "state_dict.module.encoder_q.");
  const Checkpoint checkpoint(path, "resnet18");
  EXPECT_EQ(checkpoint.facts().classes, 0);
  EXPECT_EQ(checkpoint.head_tensors().size(), 2u);
  EXPECT_THROW(load_network(checkpoint, Classifier::required, Device::cpu, DType::f32), Error);
  const auto loaded = load_network(checkpoint, Classifier::optional, Device::cpu, DType::f32);
  EXPECT_EQ((*loaded)->classes, 0);
  EXPECT_NE(loaded->report.find("2 left over"), std::string::npos) << loaded->report;
}

TEST(BenchLoad, PrintsTimeAndMemory) {
  const std::string path = write_network(test::scratch_folder() + "/w.safetensors", "resnet20_cifar", 10, {});
  const test::Outcome outcome = test::run_program("bench load " + path + " --model resnet20_cifar --runs 2 --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_GT(nlohmann::json::parse(outcome.out).at("ratio").get<double>(), 0);
}

}  // namespace
}  // namespace coss
