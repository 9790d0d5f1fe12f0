// Vision transformers and CLIP's image towers against PyTorch's: eval and train mode, drop path, positions, files.
#include "models/vit.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "models/clip.h"
#include "tests/models/model_goldens.h"
#include "tests/support/load_weights.h"
#include "training/optimizer.h"

namespace coss::test {
namespace {

const GoldenFile& goldens() {
  static const GoldenFile file("vit.safetensors");
  return file;
}

VitOptions small_vit() { return {.width = 64, .heads = 4, .patch = 8, .depth = 4, .image_size = 32, .classes = 10}; }

ClipVitOptions small_clip_vit() {
  return {.width = 64, .heads = 4, .depth = 2, .patch = 8, .embedding = 24, .image_size = 32};
}

ClipResnetOptions small_clip_resnet() {
  return {.blocks = {1, 2, 1, 1}, .width = 8, .embedding = 24, .heads = 4, .image_size = 64};
}

NetworkMaker maker(const std::string& key) {
  if (key == "vit") return [](const Scope& scope) { return make_vit(scope, small_vit()); };
  if (key == "clip_vit") return [](const Scope& scope) { return make_clip_vit(scope, small_clip_vit()); };
  if (key == "clip_resnet") return [](const Scope& scope) { return make_clip_resnet(scope, small_clip_resnet()); };
  if (key == "vit_gap")
    return [](const Scope& scope) {
      VitOptions options = small_vit();
      options.mean_pooling = true;
      return make_vit(scope, options);
    };
  return maker_of(key);
}

void expect_eval(const std::string& name, Device device, DType dtype, double bound) {
  GoldenNetwork network(goldens(), name, maker(name), device, dtype, Mode::eval);
  EXPECT_EQ(network.has("eval/logits"), network.network->classes > 0) << name;
  EXPECT_TRUE(network.has("eval/stages")) << name;
  network.expect_eval(bound);
}

// Compares the norms of all gradients: single numbers in an attention's gradients may be as small as their rounding.
void expect_train(const std::string& name, Device device, DType dtype, double bound, double gradient_bound) {
  SCOPED_TRACE(name + " " + name_of(device));
  GoldenNetwork network(goldens(), name, maker(name), device, dtype, Mode::train);
  EXPECT_EQ(network.has("train/logits"), network.network->classes > 0);
  network.train(bound, gradient_bound);
  size_t compared = 0;
  for (const Params::Entry& entry : network.params.entries()) {
    if (entry.stat) {
      EXPECT_LT(network.error(entry.stat->to_doubles(), "train/stat/" + entry.name), bound) << entry.name;
      continue;
    }
    // Adding the same to all keys does not change the softmax, so the gradient is rounding only.
    if (entry.name == "attnpool.k_proj.bias") continue;
    const std::vector<double> gradient = in_file_order(entry, entry.var->grad->value);
    double squares = 0;
    for (const double g : gradient) squares += g * g;
    const double norm = goldens().number(network.prefix + "train/grad_norm/" + entry.name);
    EXPECT_NEAR(std::sqrt(squares), norm, std::sqrt(gradient_bound) * norm) << entry.name;
    const std::vector<double> first = goldens().values(network.prefix + "train/grad/" + entry.name);
    double difference = 0;
    for (size_t i = 0; i < first.size(); ++i) difference += (gradient[i] - first[i]) * (gradient[i] - first[i]);
    EXPECT_LE(difference, gradient_bound * norm * norm) << entry.name;
    ++compared;
  }
  EXPECT_EQ(compared + (name == "clip_resnet"), goldens().keys(network.prefix + "train/grad_norm/").size());
}

constexpr const char* kSmall[] = {"vit", "vit_gap", "clip_vit", "clip_resnet"};

class VitGoldens : public testing::TestWithParam<const char*> {};

}  // namespace

TEST_P(VitGoldens, Eval) {
  for (const Device device : devices_for_networks()) {
#if defined(COSS_CUDA_HOST)
    if (device == Device::cuda) continue;  // too slow on the processor; the small networks are tested
#endif
    expect_eval(GetParam(), device, DType::f32, 1e-10);
  }
}

INSTANTIATE_TEST_SUITE_P(Published, VitGoldens,
                         testing::Values("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_small_patch32_224",
                                         "vit_base_patch32_224", "vit_small_patch16_224_gap",
                                         "vit_small_patch16_224_mocov3", "clip_rn50", "clip_vit_b32"),
                         [](const auto& model) { return std::string(model.param); });

TEST(VitTrainingGoldens, Float32) {
  for (const Device device : devices_for_networks())
    for (const char* name : kSmall) {
      expect_eval(name, device, DType::f32, 1e-10);
      expect_train(name, device, DType::f32, 1e-10, 1e-8);
    }
}

TEST(VitTrainingGoldens, ReferenceInDouble) {
  for (const char* name : kSmall) {
    expect_eval(name, Device::reference, DType::f64, 1e-13);
    expect_train(name, Device::reference, DType::f64, 1e-12, 1e-12);
  }
}

TEST(Vit, AnImageOfAnotherSizeIsRefused) {
  Params params;
  const auto network = make_vit(Scope(params), small_vit());
  params.allocate(Device::cpu, DType::f32, 1, true);
  try {
    network->features(Var(random_tensor({1, 40, 40, 3}, DType::f32, Device::cpu, 1)), Mode::eval);
    FAIL();
  } catch (const Error& refusal) {
    EXPECT_NE(std::string(refusal.what()).find("32 by 32"), std::string::npos) << refusal.what();
  }
}

// In train mode the random draw depends on the step; in eval mode nothing is drawn and nothing is recorded.
TEST(Vit, DropPathFollowsTheStep) {
  Params params;
  VitOptions options = small_vit();
  options.drop_path = 0.5f;
  const auto network = make_vit(Scope(params), options);
  params.allocate(Device::cpu, DType::f32, 1);
  const Var images(random_tensor({4, 32, 32, 3}, DType::f32, Device::cpu, 1));
  auto features = [&](int64_t step) {
    const Tensor counter = Tensor::from(std::vector<int64_t>{step}, {1}, Device::cpu);
    return network->features(images, Mode::train, counter).value.to_doubles();
  };
  EXPECT_EQ(features(3), features(3));
  EXPECT_NE(features(3), features(4));
  EXPECT_THROW(network->features(images, Mode::train), Error);
  Tape tape;
  EXPECT_EQ(network->features(images, Mode::eval).grad, nullptr);
}

// The class token's row is zero. The first patch has sines and cosines of 0 in both halves, the last one those of 13.
TEST(Vit, MocoV3StartsFromSinePositions) {
  Params params;
  const auto network = find_model("vit_small_patch16_224_mocov3").make(Scope(params), 0);
  params.allocate(Device::cpu, DType::f32, 1, true);
  const std::vector<double> table = params.master(find_entry(params, "pos_embed")).to_doubles();
  for (size_t column = 0; column < 384; ++column) {
    const bool cosine = column / 96 % 2 == 1;
    const double angle = std::pow(10000.0, -double(column % 96) / 96);
    EXPECT_EQ(table[column], 0);
    EXPECT_EQ(table[384 + column], cosine ? 1 : 0);
    EXPECT_NEAR(table[196 * 384 + column], cosine ? std::cos(13 * angle) : std::sin(13 * angle), 1e-6);
    EXPECT_NEAR(table[2 * 384 + column],
                column < 192 ? table[384 + column]
                : cosine     ? std::cos(angle)
                             : std::sin(angle),
                1e-6);  // the next column of the image
  }
}

// The file has OpenAI's layout: the image tower below `visual.`, the text tower beside it.
TEST(Clip, ATinyTowerIsReadFromAWholeModel) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "needs COSS_SHARED";
  Params params;
  const auto network = make_clip_resnet(
      Scope(params), {.blocks = {1, 1, 1, 1}, .width = 8, .embedding = 16, .heads = 4, .image_size = 64});
  params.allocate(Device::cpu, DType::f32, 1, true);
  for (const char* name : {"clip_state_dict_twin_fp32.pt", "clip_jit_twin_fp32.pt"})
    test::load_weights(*shared + "/checkpoints/" + name, params, "", nullptr);
  const Var images(random_tensor({2, 64, 64, 3}, DType::f32, Device::cpu, 1));
  for (const double value : network->features(images, Mode::eval).value.to_doubles()) EXPECT_TRUE(std::isfinite(value));
}

// A small network of each kind learns to classify 64 random images.
TEST(Vit, LossFalls) {
  constexpr int64_t kImages = 64, kClasses = 4;
  const auto vit = [](const Scope& scope) {
    VitOptions options = small_vit();
    options.classes = kClasses;
    options.drop_path = 0.1f;
    return make_vit(scope, options);
  };
  const auto clip = [](const Scope& scope) {
    ClipResnetOptions options = small_clip_resnet();
    options.classes = kClasses;
    return make_clip_resnet(scope, options);
  };
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const auto& [make, size] :
         {std::pair<NetworkMaker, int64_t>(vit, 32), std::pair<NetworkMaker, int64_t>(clip, 64)}) {
      Params params;
      const auto network = make(Scope(params));
      params.allocate(Device::cpu, dtype, 1);
      const Var images(random_tensor({kImages, size, size, 3}, dtype, Device::cpu, 1));
      std::vector<int32_t> classes;
      for (int32_t i = 0; i < kImages; ++i) classes.push_back(i % int32_t(kClasses));
      const Tensor labels = Tensor::from(classes, {kImages}, Device::cpu);
      const auto optimizer = make_optimizer({.name = "adamw"}, params);
      std::vector<float> scalars(kScalarCount, 0);
      scalars[kLearningRate] = 2e-3f;
      scalars[kGradScale] = 1;
      std::vector<double> losses;
      for (int64_t step = 0; step < 30; ++step) {
        scalars[kStep] = float(step + 1);
        const Tensor counter = Tensor::from(std::vector<int64_t>{step}, {1}, Device::cpu);
        Tape tape;
        const Var features = network->features(images, Mode::train, counter);
        const Var loss = cross_entropy(network->logits(features, Mode::train, counter), labels);
        losses.push_back(loss.value.item());
        tape.backward(loss);
        optimizer->step(params, Tensor::from(scalars, {kScalarCount}, Device::cpu));
      }
      EXPECT_LT(losses.back(), 0.5 * losses.front()) << size << " " << name_of(dtype);
    }
}

}  // namespace coss::test
