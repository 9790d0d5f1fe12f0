// The plans of convolutions on a GPU, as far as they can be checked without one: the file that keeps them, and, in a
// build with the CUDA backend, whether cuDNN has an engine for every convolution of the models. cuDNN plans for a GPU
// that is described to it in JSON (from version 9.8 on); this one is an H200.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "engine/cuda/library/conv_key.h"
#include "engine/cuda/library/plan_file.h"
#include "tests/support/support.h"

#ifndef COSS_CUDA_HOST
#include <dlfcn.h>

#include "engine/check.h"
#include "engine/cuda/library/cudnn.h"
#endif

namespace coss::test {
namespace {

using cuda::ConvKey;
using cuda::ConvKeyHash;
using cuda::ConvKind;
using cuda::PlanFile;

// --- keys and the file ---

TEST(ConvKeys, EveryNumberCounts) {
  std::vector<ConvKey> keys(1);
  auto changed = [&](auto change) {
    ConvKey key;
    change(key);
    keys.push_back(key);
  };
  changed([](ConvKey& key) { key.kind = ConvKind::wgrad; });
  changed([](ConvKey& key) { key.n = 7; });
  changed([](ConvKey& key) { key.h = 7; });
  changed([](ConvKey& key) { key.w = 7; });
  changed([](ConvKey& key) { key.c = 7; });
  changed([](ConvKey& key) { key.k = 7; });
  changed([](ConvKey& key) { key.r = 7; });
  changed([](ConvKey& key) { key.s = 7; });
  changed([](ConvKey& key) { key.params.stride = 7; });
  changed([](ConvKey& key) { key.params.pad = 7; });
  changed([](ConvKey& key) { key.params.dilation = 7; });
  changed([](ConvKey& key) { key.params.groups = 7; });
  changed([](ConvKey& key) { key.dtype = DType::f16; });
  changed([](ConvKey& key) { key.tf32 = true; });
  changed([](ConvKey& key) { key.activation = Activation::relu6; });
  changed([](ConvKey& key) { key.residual = true; });
  changed([](ConvKey& key) { key.params.same = true; });
  std::set<std::string> texts;
  std::set<size_t> hashes;
  for (const ConvKey& key : keys) {
    texts.insert(key.text());
    hashes.insert(ConvKeyHash()(key));
    EXPECT_EQ(key.text().find('\t'), std::string::npos);
  }
  EXPECT_EQ(keys.size(), ConvKey().numbers().size() + 1) << "a number of the key has no line here";
  EXPECT_EQ(texts.size(), keys.size());
  EXPECT_EQ(hashes.size(), keys.size());
}

TEST(PlanFiles, RememberFromRunToRun) {
  const std::string path = scratch_folder() + "/deep/er/plans.txt";
  {
    PlanFile file(path);
    EXPECT_EQ(file.find("a"), "");
    file.remember("a", "plain eng1_k2=3");
    file.remember("b b", "product");
    PlanFile other(path);  // another process, at the same time
    other.remember("c", "fused eng7");
    file.remember("a", "plain eng2");
  }
  PlanFile file(path);
  EXPECT_EQ(file.find("a"), "plain eng2");
  EXPECT_EQ(file.find("b b"), "product");
  EXPECT_EQ(file.find("c"), "fused eng7");
  EXPECT_EQ(file.find("b"), "");
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path.substr(0, path.rfind('/'))))
    ++files;
  EXPECT_EQ(files, 1u) << "what was written aside has been renamed";
}

TEST(PlanFiles, ForeignLinesAreIgnored) {
  const std::string path = scratch_folder() + "/plans.txt";
  std::ofstream(path) << "# note\n\nno tab\n\tno key\nno choice\t\nkey\tplain eng1\n\x01\x02 cut off";
  const PlanFile file(path);
  EXPECT_EQ(file.find("key"), "plain eng1");
  EXPECT_EQ(file.find("no choice"), "");
  EXPECT_EQ(file.find("no tab"), "");
}

TEST(PlanFiles, AFolderThatCannotBeWrittenIsNoError) {
  const std::string blocked = scratch_folder() + "/file";
  std::ofstream(blocked) << "not a folder";
  for (const std::string& path : {blocked + "/plans.txt", std::string()}) {
    PlanFile file(path);
    file.remember("a", "plain eng1");
    EXPECT_EQ(file.find("a"), "plain eng1");
    EXPECT_EQ(PlanFile(path).find("a"), "");
  }
}

TEST(PlanFiles, OneForEachGpuAndVersion) {
  const std::string one = PlanFile::path_for("NVIDIA H200/x", "9.19.0");
  if (one.empty()) GTEST_SKIP() << "neither HOME nor XDG_CACHE_HOME is set";
  EXPECT_NE(one.find("/coss/convolutions-NVIDIA_H200_x-cudnn-9.19.0.txt"), std::string::npos) << one;
  EXPECT_NE(one, PlanFile::path_for("NVIDIA A100", "9.19.0"));
}

// --- plans for an H200 ---

#ifdef COSS_CUDA_HOST

TEST(ConvPlans, HaveAnEngineOnAnH200) { GTEST_SKIP() << "needs a build with the CUDA backend"; }

#else

using cuda::ConvGraph;
using cuda::ConvWay;
using cuda::Route;

const char* const kH200 = R"({"descriptorType":38,"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],
"regsPerBlock":65536,"multiProcessorCount":132,"warpSize":32,"maxSharedMemoryPerBlock":49152,
"maxSharedMemoryPerBlockOptin":232448,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":32,
"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,"supportCoopLaunch":1,
"totalGlobalMem":150121545728,"smClockRateKHz":1980000,"memClockRateKHz":3201000,"l2CacheSize":62914560,
"cudaDeviceId":0,"deviceVer":900,"driverVer":13000,"deviceName":"NVIDIA H200"})";

struct Layer {
  int64_t size, c, k, r, stride;
  int64_t groups = 1, dilation = 1, pad = -1;  // -1: half the window
  Activation activation = Activation::relu;
  bool same = false;
};

// The different convolutions of the models: ResNet-18 to -152 and MobileNetV2's dense ones at 224 pixels, the CIFAR
// ResNets at 32; and shapes that do not divide well.
std::vector<Layer> layers_of_models() {
  std::vector<Layer> layers{{224, 3, 64, 7, 2}, {224, 3, 32, 3, 2}, {32, 3, 16, 3, 1}};
  for (int64_t stage = 0; stage < 4; ++stage) {
    const int64_t size = 56 >> stage, width = 64 << stage;
    layers.push_back({size, width, width, 3, 1});
    layers.push_back({size, width, 4 * width, 1, 1});
    layers.push_back({size, 4 * width, width, 1, 1});
    if (stage == 0) layers.push_back({size, 64, 64, 1, 1});
    if (stage == 0) continue;
    layers.push_back({2 * size, width / 2, width, 3, 2});
    layers.push_back({2 * size, width / 2, width, 1, 2});
    layers.push_back({2 * size, 2 * width, width, 1, 1});
    layers.push_back({2 * size, width, width, 3, 2});
    layers.push_back({2 * size, 2 * width, 4 * width, 1, 2});
  }
  for (int64_t stage = 0; stage < 3; ++stage) {
    const int64_t size = 32 >> stage, width = 16 << stage;
    layers.push_back({size, width, width, 3, 1});
    if (stage < 2) layers.push_back({size, width, 2 * width, 3, 2});
  }
  const Layer pointwise[] = {{112, 32, 16, 1, 1}, {112, 16, 96, 1, 1}, {56, 96, 24, 1, 1},  {56, 24, 144, 1, 1},
                             {56, 144, 24, 1, 1}, {28, 144, 32, 1, 1}, {28, 32, 192, 1, 1}, {28, 192, 32, 1, 1},
                             {14, 192, 64, 1, 1}, {14, 64, 384, 1, 1}, {14, 384, 64, 1, 1}, {14, 384, 96, 1, 1},
                             {14, 96, 576, 1, 1}, {14, 576, 96, 1, 1}, {7, 576, 160, 1, 1}, {7, 160, 960, 1, 1},
                             {7, 960, 160, 1, 1}, {7, 960, 320, 1, 1}, {7, 320, 1280, 1, 1}};
  layers.insert(layers.end(), std::begin(pointwise), std::end(pointwise));
  layers.insert(layers.end(), {{9, 5, 11, 3, 1},
                               {28, 13, 7, 1, 1},
                               {1, 32, 16, 1, 1},
                               {7, 16, 16, 1, 2},
                               {9, 16, 16, 3, 1, 1, 1, 0},
                               {9, 16, 16, 3, 1, 1, 2, 2},
                               {14, 32, 32, 3, 1, 4},
                               {8, 24, 48, 3, 2, 3},
                               {5, 12, 24, 1, 1, 3}});
  // EfficientNet and MobileNetV3: stems as PyTorch and as TensorFlow pads them, of an even and an odd size; expanding,
  // projecting and last layers; and a padding at the end only.
  for (Activation activation : {Activation::silu, Activation::hardswish}) {
    for (bool same : {false, true}) {
      layers.push_back({224, 3, 32, 3, 2, 1, 1, -1, activation, same});
      layers.push_back({225, 3, 48, 3, 2, 1, 1, -1, activation, same});
      layers.push_back({28, 32, 64, 3, 2, 1, 1, -1, activation, same});
      layers.push_back({14, 80, 480, 1, 1, 1, 1, -1, activation, same});
    }
    layers.push_back({112, 16, 96, 1, 1, 1, 1, -1, activation});
    layers.push_back({7, 320, 1280, 1, 1, 1, 1, -1, activation});
  }
  return layers;
}

class ConvPlans : public testing::Test {
 protected:
  void SetUp() override {
    // Engines that are compiled at run time need the driver's library even without a GPU; the toolkit's stub is enough.
    if (!dlopen("libcuda.so.1", RTLD_NOW)) {
      for (const char* folder : {"/usr/local/cuda/lib64/stubs", "/usr/local/cuda/lib/stubs"})
        if (dlopen((std::string(folder) + "/libcuda.so").c_str(), RTLD_NOW)) break;
    }
    const std::string version = cuda::cudnn_version();
    if (version.compare(0, 2, "9.") != 0) GTEST_SKIP() << "cuDNN is " << version;
    std::string problem;
    if (!ConvGraph::make(target_, {.n = 1, .h = 8, .w = 8, .c = 8, .k = 8, .r = 1, .s = 1, .dtype = DType::bf16},
                         Route::plain, problem))
      GTEST_SKIP() << "cuDNN " << version << " does not plan for a GPU that is not there: " << problem;
  }

  // How many engines a way has. Engines that are compiled at run time are not built: each takes a second, and cannot be
  // finished without a GPU.
  size_t plans(const ConvKey& key, const ConvWay& way, std::string& problem) const {
    if (way.route == Route::product) return 1;
    const auto graph = ConvGraph::make(target_, way.folded ? key.folded() : key, way.route, problem);
    for (size_t i = 0; graph && i < graph->count(); ++i)
      if (graph->compiled_at_run_time(i) || graph->build(i, problem)) return graph->count();
    return 0;
  }

  ConvGraph::Target target_{.device_json = kH200};
};

TEST_F(ConvPlans, HaveAnEngineOnAnH200) {
  struct Compute {
    DType dtype;
    bool tf32;
  };
  size_t checked = 0;
  for (const Layer& layer : layers_of_models()) {
    for (const Compute& compute : {Compute{DType::bf16, false}, Compute{DType::f16, false}, Compute{DType::f32, false},
                                   Compute{DType::f32, true}}) {
      ConvKey key{.n = 256, .h = layer.size, .w = layer.size, .c = layer.c, .k = layer.k, .r = layer.r, .s = layer.r};
      key.params = {.stride = layer.stride,
                    .pad = layer.pad < 0 ? layer.r / 2 : layer.pad,
                    .dilation = layer.dilation,
                    .groups = layer.groups,
                    .depthwise = false,
                    .same = layer.same};
      key.dtype = compute.dtype;
      key.tf32 = compute.tf32;
      for (ConvKind kind : {ConvKind::forward, ConvKind::bias_act, ConvKind::dgrad, ConvKind::wgrad}) {
        key.kind = kind;
        key.activation = kind == ConvKind::bias_act ? layer.activation : Activation::none;
        for (bool residual : {false, true}) {
          if (residual && kind != ConvKind::bias_act) continue;
          key.residual = residual;
          std::string problem, ways;
          for (const auto& group : cuda::conv_ways(key)) {
            for (const ConvWay& way : group)
              if (const size_t count = plans(key, way, problem); count > 0)
                ways += " [" + way.text() + ": " + std::to_string(count) + "]";
            if (!ways.empty()) break;
          }
          EXPECT_FALSE(ways.empty()) << key.text() << ": " << problem;
          if (std::getenv("COSS_PRINT_PLANS")) std::printf("%s:%s\n", key.text().c_str(), ways.c_str());
          ++checked;
        }
      }
    }
  }
  EXPECT_GT(checked, 1000u);
}

TEST_F(ConvPlans, CandidatesAreFewAndBuilt) {
  const ConvKey key{
      .n = 64, .h = 56, .w = 56, .c = 64, .k = 64, .r = 3, .s = 3, .params = {.pad = 1}, .dtype = DType::f16};
  std::string problem;
  const auto candidates = cuda::conv_candidates(target_, key, /*first_only=*/false, problem);
  ASSERT_FALSE(candidates.empty()) << problem;
  EXPECT_LE(candidates.size(), 8u);
  EXPECT_EQ(cuda::conv_candidates(target_, key, /*first_only=*/true, problem).size(), 1u);
  std::set<std::string> names;
  for (const auto& candidate : candidates) {
    EXPECT_EQ(candidate.way.route, Route::plain);
    EXPECT_EQ(candidate.graph->workspace(candidate.index), candidate.workspace);
    EXPECT_TRUE(names.insert(candidate.graph->name(candidate.index)).second);
  }
}

TEST_F(ConvPlans, FullPrecisionTakesNoTensorCores) {
  ConvKey key{.n = 64, .h = 56, .w = 56, .c = 64, .k = 64, .r = 3, .s = 3, .params = {.pad = 1}};
  std::string problem;
  const auto exact = ConvGraph::make(target_, key, Route::plain, problem);
  key.tf32 = true;
  const auto rounded = ConvGraph::make(target_, key, Route::plain, problem);
  ASSERT_TRUE(exact && rounded) << problem;
  EXPECT_LT(exact->count(), rounded->count());
}

TEST_F(ConvPlans, AttentionHasAnEngine) {
  ConvGraph::Target target = target_;
  target.sm_version = 90;
  for (int64_t tokens : {197, 50}) {
    for (int64_t heads : {6, 12}) {
      for (int64_t channels : {64, 32}) {
        for (DType dtype : {DType::bf16, DType::f16}) {
          for (bool backward : {false, true}) {
            const cuda::AttentionShape shape{64, tokens, tokens, heads, channels, dtype};
            std::string problem;
            EXPECT_TRUE(cuda::AttentionPlan::make(target, shape, backward, /*build=*/false, problem))
                << tokens << " tokens, " << heads << " heads of " << channels << ", " << name_of(dtype)
                << (backward ? ", backward: " : ", forward: ") << problem;
          }
        }
      }
    }
  }
}

#endif

}  // namespace
}  // namespace coss::test
