// Weights between files and Params: layouts, prefixes, reports, and the round trip.
#include "formats/weights.h"

#include <cstring>

#include "models/network.h"
#include "tests/formats/format_support.h"
#include "tests/support/load_weights.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

// A tiny network with one parameter of each layout.
struct Tiny {
  Params params;
  Var conv, depthwise, fc, bias, gamma;
  Tensor mean;
  explicit Tiny(uint64_t seed) {
    const Init normal{Init::normal, 0, 1};
    params.add_weight("net.conv1.weight", Shape{2, 3, 3, 4}, FileLayout::conv, normal, &conv);
    params.add_weight("net.dw.weight", Shape{3, 2, 5}, FileLayout::depthwise, normal, &depthwise);
    params.add_rest("net.bn1.weight", Shape{2}, normal, &gamma);
    params.add_stat("net.bn1.running_mean", Shape{2}, normal, &mean);
    params.add_weight("net.fc.weight", Shape{6, 2}, FileLayout::plain, normal, &fc);
    params.add_rest("net.fc.bias", Shape{6}, normal, &bias);
    params.allocate(Device::cpu, DType::bf16, seed);
  }
  std::vector<std::vector<double>> values() {
    std::vector<std::vector<double>> out;
    for (const Params::Entry& entry : params.entries()) out.push_back(params.master(entry).to_doubles());
    return out;
  }
};

bool classifier(const std::string& name) { return name.rfind("fc.", 0) == 0; }

TEST(Weights, RoundTrip) {
  const std::string path = scratch_folder() + "/w.safetensors";
  Tiny a(1), b(2);
  a.params.batches_tracked = 17;
  save_weights(path, a.params, "net", {{"epoch", "3"}});
  ASSERT_NE(a.values(), b.values());
  const WeightReport report = load_weights(path, b.params, "net", nullptr);
  EXPECT_EQ(a.values(), b.values());
  EXPECT_EQ(report.matched, 6);
  EXPECT_TRUE(report.missing.empty() && report.unexpected.empty() && report.mismatched.empty()) << report.str();
  // The compute copy follows.
  const std::vector<double> master = b.params.master(b.params.entries()[0]).to_doubles(),
                            compute = b.conv.value.to_doubles();
  for (size_t i = 0; i < master.size(); ++i) EXPECT_NEAR(compute[i], master[i], 0.01 * std::abs(master[i]));

  const TensorFile file = open_tensor_file(path);
  EXPECT_EQ(file.metadata().at("epoch"), "3");
  EXPECT_EQ(file.find("conv1.weight")->shape, (std::vector<int64_t>{2, 4, 3, 3}));
  EXPECT_EQ(file.find("dw.weight")->shape, (std::vector<int64_t>{5, 1, 3, 2}));
  EXPECT_TRUE(file.find("bn1.num_batches_tracked")->shape.empty());
  EXPECT_EQ(file.read_floats(*file.find("bn1.num_batches_tracked")), std::vector<float>{17});
}

TEST(Weights, LayoutIsPyTorchs) {
  Tiny a(1);
  std::map<std::string, NamedTensor> tensors;
  for (NamedTensor& tensor : weights_as_tensors(a.params, "net")) tensors[tensor.name] = tensor;
  const std::vector<float> conv = floats_from(tensors["conv1.weight"].bytes, FileDType::f32, "");
  const std::vector<double> here = a.params.master(a.params.entries()[0]).to_doubles();
  for (size_t k = 0; k < 2; ++k) {
    for (size_t r = 0; r < 3; ++r) {
      for (size_t s = 0; s < 3; ++s) {
        for (size_t c = 0; c < 4; ++c) {
          EXPECT_EQ(double(conv[((k * 4 + c) * 3 + r) * 3 + s]), here[((k * 3 + r) * 3 + s) * 4 + c]);
        }
      }
    }
  }
  const std::vector<float> depthwise = floats_from(tensors["dw.weight"].bytes, FileDType::f32, "");
  const std::vector<double> own = a.params.master(a.params.entries()[1]).to_doubles();
  for (size_t tap = 0; tap < 6; ++tap) {
    for (size_t c = 0; c < 5; ++c) EXPECT_EQ(double(depthwise[c * 6 + tap]), own[tap * 5 + c]);
  }
}

// The tensors of `from` under new names.
std::string renamed(const std::string& prefix, Tiny& from, const std::vector<NamedTensor>& more = {}) {
  const std::string path = scratch_folder() + "/renamed.safetensors";
  std::vector<NamedTensor> tensors = weights_as_tensors(from.params, "net");
  for (NamedTensor& tensor : tensors) tensor.name = prefix + tensor.name;
  tensors.insert(tensors.end(), more.begin(), more.end());
  write_safetensors(path, tensors, {});
  return path;
}

TEST(Weights, PrefixesAreFound) {
  for (const std::string prefix :
       {"", "module.", "state_dict.module.", "state_dict.module.encoder_q.", "model.module.module.module.",
        "state_dict._orig_mod.backbone.", "teacher.module.backbone.", "resnet.", "state_dict.module.student.",
        "classy_state_dict.base_model.model.trunk._feature_blocks."}) {
    Tiny a(1), b(2);
    const WeightReport report = load_weights(renamed(prefix, a), b.params, "net", classifier);
    EXPECT_EQ(report.stripped_prefix, prefix);
    EXPECT_EQ(a.values(), b.values()) << prefix;
  }
}

TEST(Weights, TheBestPrefixWins) {
  Tiny a(1), b(2);
  const NamedTensor decoy{"module.bn1.weight", FileDType::f32, {2}, std::vector<uint8_t>(8)};
  const NamedTensor queue{"state_dict.module.queue", FileDType::f32, {2}, std::vector<uint8_t>(8)};
  const WeightReport report =
      load_weights(renamed("state_dict.module.", a, {decoy, queue}), b.params, "net", classifier);
  EXPECT_EQ(report.stripped_prefix, "state_dict.module.");
  EXPECT_EQ(report.unexpected.size(), 2u);
  EXPECT_EQ(a.values(), b.values());
  expect_contains(report.str(), "2 left over");
}

TEST(Weights, MissingAndMismatched) {
  Tiny a(1), b(2);
  std::vector<NamedTensor> tensors = weights_as_tensors(a.params, "net");
  const std::string path = scratch_folder() + "/w.safetensors";
  const auto without = [&](const std::string& name) {
    std::vector<NamedTensor> rest;
    for (const NamedTensor& tensor : tensors) {
      if (tensor.name != name) rest.push_back(tensor);
    }
    write_safetensors(path, rest, {});
  };
  const auto before = b.values();
  without("conv1.weight");
  const std::string message = error_of([&] { load_weights(path, b.params, "net", classifier); });
  expect_contains(message, path);
  expect_contains(message, "1 missing: conv1.weight (2, 4, 3, 3)");
  EXPECT_EQ(b.values(), before);  // nothing was loaded

  without("fc.weight");
  const WeightReport report = load_weights(path, b.params, "net", classifier);
  EXPECT_EQ(report.missing, std::vector<std::string>{"fc.weight (6, 2)"});
  error_of([&] { load_weights(path, b.params, "net", nullptr); });

  for (NamedTensor& tensor : tensors) {
    if (tensor.name == "fc.weight") tensor.shape = {2, 6};
  }
  write_safetensors(path, tensors, {});
  EXPECT_EQ(load_weights(path, b.params, "net", classifier).mismatched,
            std::vector<std::string>{"fc.weight (6, 2) is (2, 6) in the file"});
  error_of([&] { load_weights(path, b.params, "net", nullptr); });
}

TEST(Weights, RealCheckpointsFitTheirModels) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "the shared folder is missing";
  struct Case {
    const char *model, *file, *prefix;
    int64_t classes, optional;
  };
  for (const Case& c : {Case{"resnet20_cifar", "akamaster-cifar10/resnet20-12fca82f.th", "state_dict.module.", 10, 0},
                        Case{"resnet56_cifar", "akamaster-cifar10/resnet56-4bfd9763.th", "state_dict.module.", 10, 0},
                        Case{"mobilenet_v2", "mobilenet_v2_imagenet_backbone_torchvision_keys.pth", "", 1000, 2}}) {
    Params params;
    const auto network = find_model(c.model).make(Scope(params, "teacher"), c.classes);
    params.allocate(Device::cpu, DType::f32, 1);
    const auto is_classifier = [](const std::string& name) { return name.rfind("classifier.", 0) == 0; };
    const WeightReport report = load_weights(*shared + "/checkpoints/" + c.file, params, "teacher", is_classifier);
    EXPECT_EQ(report.stripped_prefix, c.prefix);
    EXPECT_EQ(int64_t(report.missing.size()), c.optional) << report.str();
    EXPECT_EQ(report.matched, int64_t(params.entries().size()) - c.optional);
    EXPECT_TRUE(report.unexpected.empty()) << report.str();
  }
}

}  // namespace
}  // namespace coss::test
