// Layouts: every published one is found without being named, and the report says what does not fit.
#include "formats/layouts.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "formats/weights.h"
#include "models/network.h"
#include "tests/formats/format_support.h"
#include "tests/support/load_weights.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

std::vector<WantedTensor> wanted_by(const std::string& model) {
  Params params;
  const ModelInfo& info = find_model(model);
  const auto network = info.make(Scope(params, "net"), info.classes);
  return wanted_tensors(params, "net", nullptr);
}

float number_of(const std::string& name) { return float(std::hash<std::string>{}(name) % 10007); }

// A safetensors file of these tensors, all zeros except the first value of each, which follows from its name. The zeros
// take no space on the disk.
void write_sparse(const std::string& path, const Named& tensors) {
  std::string header = "{";
  int64_t end = 0;
  std::vector<int64_t> starts;
  for (const auto& [name, shape] : tensors) {
    starts.push_back(end);
    end += checked_numel(shape, FileDType::f32, name) * 4;
    std::string sizes;
    for (int64_t size : shape) sizes += (sizes.empty() ? "" : ",") + std::to_string(size);
    header += (header.size() > 1 ? ",\"" : "\"") + name + "\":{\"dtype\":\"F32\",\"shape\":[" + sizes +
              "],\"data_offsets\":[" + std::to_string(starts.back()) + "," + std::to_string(end) + "]}";
  }
  header += "}";
  std::filesystem::remove(path);
  std::ofstream file(path, std::ios::binary);
  file << little(header.size(), 8) << header;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const float number = number_of(tensors[i].first);
    file.seekp(std::streamoff(8 + header.size()) + starts[i]);
    file.write(reinterpret_cast<const char*>(&number), sizeof(number));
  }
  file.close();
  std::filesystem::resize_file(path, 8 + header.size() + uint64_t(end));
}

struct Manifest {
  const char *file, *model, *container, *layout, *prefix;
  size_t head;  // tensors
};

constexpr Manifest kManifests[] = {
    {"moco_v1_resnet50", "resnet50", "state_dict.", "mocov1", "state_dict.module.encoder_q.", 2},
    {"moco_v2_resnet50", "resnet50", "state_dict.", "mocov2", "state_dict.module.encoder_q.", 4},
    {"moco_v3_resnet50", "resnet50", "state_dict.", "mocov3", "state_dict.module.base_encoder.", 8},
    {"swav_resnet50", "resnet50", "", "swav", "module.", 8},
    {"swav_resnet50", "resnet50", "state_dict.", "swav", "state_dict.module.", 8},
    {"simclr_v1_tonylins_resnet50x1", "resnet50", "state_dict.", "torchvision", "state_dict.", 0},
    {"simclr_v2_separius_r50_1x_sk0_resnet", "resnet50", "resnet.", "simclr-v2", "resnet.", 0},
    {"dino_resnet50_backbone_only", "resnet50", "", "torchvision", "", 0},
    {"dino_resnet50_full_teacher", "resnet50", "teacher.", "dino", "teacher.backbone.", 8},
    {"dino_resnet50_full_student", "resnet50", "student.", "dino", "student.module.backbone.", 8},
    {"barlowtwins_checkpoint_model", "resnet50", "model.", "barlowtwins", "model.module.backbone.", 11},
    {"barlowtwins_resnet50_pth", "resnet50", "", "torchvision", "", 0},
    {"vicreg_checkpoint_model", "resnet50", "model.", "vicreg", "model.module.backbone.", 13},
    {"vicreg_resnet50_pth", "resnet50", "", "torchvision", "", 0},
    {"timm_resnet18", "resnet18", "", "torchvision", "", 0},
    {"timm_resnet50", "resnet50", "", "torchvision", "", 0},
    {"torchvision_resnet18", "resnet18", "", "torchvision", "", 0},
    {"torchvision_resnet34", "resnet34", "", "torchvision", "", 0},
    {"torchvision_resnet50", "resnet50", "", "torchvision", "", 0},
    {"torchvision_mobilenet_v2", "mobilenet_v2", "", "torchvision", "", 0},
    {"torchvision_efficientnet_b0", "efficientnet_b0", "", "torchvision", "", 0},
    {"torchvision_mobilenet_v3_small", "mobilenet_v3_small", "", "torchvision", "", 0},
    {"torchvision_mobilenet_v3_large", "mobilenet_v3_large", "", "torchvision", "", 0},
    {"torchvision_shufflenet_v2_x1_0", "shufflenet_v2_x1_0", "", "torchvision", "", 0},
    {"torchvision_squeezenet1_1", "squeezenet1_1", "", "torchvision", "", 0},
    {"torchvision_efficientnet_v2_s", "efficientnet_v2_s", "", "torchvision", "", 0},
    {"timm_efficientnet_b0", "efficientnet_b0", "", "timm", "", 0},
    {"timm_tf_efficientnet_b0", "tf_efficientnet_b0", "", "timm", "", 0},
    {"timm_mobilenetv3_small_100", "mobilenetv3_small_100", "", "timm", "", 0},
    {"timm_mobilenetv3_large_100", "mobilenetv3_large_100", "", "timm", "", 0},
    {"lukemelas_efficientnet_b0", "tf_efficientnet_b0", "", "lukemelas", "", 0},
    {"lukemelas_efficientnet_b0", "tf_efficientnet_b0", "state_dict.module.student.", "coss",
     "state_dict.module.student.", 2},
    {"dli14_mobilenetv3_small", "mobilenet_v3_small_dli14", "", "d-li14", "", 0},
    {"dli14_mobilenetv3_large", "mobilenet_v3_large_dli14", "", "d-li14", "", 0},
    {"dino_vit_small_backbone_only", "vit_small_patch16_224", "", "timm", "", 0},
    {"dino_vit_small_full_teacher", "vit_small_patch16_224", "teacher.", "dino", "teacher.backbone.", 8},
    {"dino_vit_small_full_student", "vit_small_patch16_224", "student.", "dino", "student.module.backbone.", 8},
    {"clip_RN50", "clip_rn50", "", "clip", "visual.", 0},
};

// One network of each kind, which the tests fill repeatedly.
struct Filled {
  Params params;
  std::unique_ptr<Network> network;  // where the parameters are
};
Params& params_of(const std::string& model, std::map<std::string, std::unique_ptr<Filled>>& made) {
  std::unique_ptr<Filled>& filled = made[model];
  if (filled) return filled->params;
  filled = std::make_unique<Filled>();
  filled->network = find_model(model).make(Scope(filled->params, "net"), 0);
  filled->params.allocate(Device::cpu, DType::f32, 1, /*frozen=*/true);
  return filled->params;
}

TEST(Layouts, PublishedCheckpointsAreRecognized) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "the shared folder is missing";
  const std::string path = scratch_folder() + "/published.safetensors";
  std::map<std::string, std::unique_ptr<Filled>> made;
  for (const Manifest& c : kManifests) {
    SCOPED_TRACE(c.file);
    Named tensors = read_manifest(*shared + "/reference/keys/" + c.file + ".tsv");
    ASSERT_FALSE(tensors.empty());
    for (auto& [name, shape] : tensors) name = c.container + name;
    write_sparse(path, tensors);
    Params& params = params_of(c.model, made);
    const WeightReport report = load_weights(path, params, "net", nullptr);  // an Error if anything is missing
    EXPECT_EQ(report.matched, int64_t(params.entries().size()));
    EXPECT_EQ(report.layout, c.layout);
    EXPECT_EQ(report.stripped_prefix, c.prefix);
    const float red = report.normalization.stddev[0];
    EXPECT_EQ(red, report.layout == "swav"        ? 0.228f
                   : report.layout == "simclr-v2" ? 1.0f
                   : report.layout == "clip"      ? 0.26862954f
                                                  : 0.229f);

    const TensorFile file = open_tensor_file(path);
    const LayoutMatch match = match_layout(file, wanted_tensors(params, "net", nullptr));
    EXPECT_FALSE(match.by_order);
    size_t head = 0;
    for (const auto& [name, tensor] : head_tensors(file, match)) head += !is_batch_counter(name);
    EXPECT_EQ(head, c.head);
    for (size_t i = 0; i < match.tensors.size(); ++i) {
      const Params::Entry& entry = params.entries()[i];
      if (entry.shape.numel() > 4096) continue;
      EXPECT_EQ(params.master(entry).to_doubles()[0], double(number_of(match.tensors[i]->name))) << entry.name;
      if (match.rule != NameRule::same) continue;
      EXPECT_EQ(match.tensors[i]->name, c.prefix + entry.name.substr(4));
    }
  }
}

TEST(Layouts, SimclrV2InItsOwnSpelling) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "the shared folder is missing";
  const TensorFile file =
      hollow_file(read_manifest(*shared + "/reference/keys/simclr_v2_separius_r50_1x_sk0_resnet.tsv"));
  const std::vector<WantedTensor> wanted = wanted_by("resnet50");
  const LayoutMatch match = match_layout(file, wanted);
  EXPECT_EQ(match.matched, int64_t(wanted.size()));
  const std::map<std::string, std::string> spelled = {
      {"conv1.weight", "net.0.0.weight"},
      {"bn1.bias", "net.0.1.0.bias"},
      {"layer1.0.downsample.0.weight", "net.1.blocks.0.projection.shortcut.weight"},
      {"layer2.0.downsample.1.running_var", "net.2.blocks.0.projection.bn.0.running_var"},
      {"layer3.5.conv1.weight", "net.3.blocks.5.net.0.weight"},
      {"layer3.5.bn1.weight", "net.3.blocks.5.net.1.0.weight"},
      {"layer3.5.conv2.weight", "net.3.blocks.5.net.2.weight"},
      {"layer4.2.bn2.bias", "net.4.blocks.2.net.3.0.bias"},
      {"layer4.2.conv3.weight", "net.4.blocks.2.net.4.weight"},
      {"layer4.2.bn3.running_mean", "net.4.blocks.2.net.5.0.running_mean"},
      {"fc.bias", "fc.bias"}};
  size_t seen = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto expected = spelled.find(wanted[i].name);
    if (expected == spelled.end()) continue;
    EXPECT_EQ(match.tensors[i]->name, expected->second);
    ++seen;
  }
  EXPECT_EQ(seen, spelled.size());
}

// The tensors of a tiny network.
const std::vector<WantedTensor> kSmall{{"conv1.weight", {4, 3, 3, 3}},
                                       {"bn1.weight", {4}},
                                       {"bn1.bias", {4}},
                                       {"layer1.0.conv1.weight", {4, 4, 3, 3}},
                                       {"layer1.0.bn1.weight", {4}},
                                       {"layer2.0.downsample.0.weight", {8, 4, 1, 1}},
                                       {"fc.weight", {-1, 8}, true}};

Named spelled_as(const std::vector<std::string>& names) {
  Named tensors;
  for (size_t i = 0; i < names.size(); ++i) {
    std::vector<int64_t> shape = kSmall[i].shape;
    if (shape[0] < 0) shape[0] = 7;
    tensors.emplace_back(names[i], shape);
  }
  return tensors;
}

Named prefixed(const std::string& prefix) {
  std::vector<std::string> names;
  for (const WantedTensor& want : kSmall) names.push_back(prefix + want.name);
  return spelled_as(names);
}

TEST(Layouts, PrefixesTellTheSource) {
  struct Case {
    const char *prefix, *layout, *also;
  };
  for (const Case& c :
       {Case{"state_dict.module.student.", "coss", "state_dict.module.teacher.conv1.weight"},
        Case{"state_dict.module.student.", "seed", "state_dict.module.queue"},
        Case{"model.module.module.module.", "seed", "epoch"},
        Case{"teacher.module.backbone.", "dino", "student.module.backbone.conv1.weight"},
        Case{"state_dict.backbone.", "solo", "state_dict.projector.0.weight"},
        Case{"state_dict.encoder.", "solo", "state_dict.projector.0.weight"},
        Case{"state_dict.student_embedding_model.wrapped_model._features.", "lightly", "epoch"},
        Case{"state_dict.embedding_model.wrapped_model._model.", "lightly", "epoch"},
        Case{"visual.", "clip", "token_embedding.weight"},
        Case{"state_dict.backbone.", "mmpretrain", "state_dict.neck.fc0.weight"}, Case{"online_backbone.", "byol", "x"},
        Case{"classy_state_dict.base_model.model.trunk._feature_blocks.", "vissl", "x"},
        Case{"state_dict._orig_mod.module.encoder_q.", "mocov1", "x"}, Case{"net.", "torchvision", "x"}}) {
    Named tensors = prefixed(c.prefix);
    tensors.emplace_back(c.also, std::vector<int64_t>{4, 3, 3, 3});
    const LayoutMatch match = match_layout(hollow_file(tensors), kSmall);
    EXPECT_EQ(match.prefix, c.prefix);
    EXPECT_EQ(match.layout_name(), c.layout) << c.prefix;
    EXPECT_EQ(match.matched, 7) << c.prefix;
    EXPECT_EQ(match.unexpected.size(), 1u);
  }
}

TEST(Layouts, ChildrenOfASequential) {
  const auto names = [](const std::string& prefix) {
    return spelled_as({prefix + "0.weight", prefix + "1.weight", prefix + "1.bias", prefix + "4.0.conv1.weight",
                       prefix + "4.0.bn1.weight", prefix + "5.0.downsample.0.weight", prefix + "fc.weight"});
  };
  const LayoutMatch byol = match_layout(hollow_file(names("online_network_state_dict.encoder.")), kSmall);
  EXPECT_EQ(byol.layout_name(), "byol");
  EXPECT_TRUE(byol.complete());
  const LayoutMatch lightly = match_layout(hollow_file(names("state_dict.backbone.")), kSmall);
  EXPECT_EQ(lightly.layout_name(), "lightly");
  EXPECT_TRUE(lightly.complete());
}

TEST(Layouts, OnesAtTheEndsOfAShapeDoNotCount) {
  const std::vector<WantedTensor> wanted{{"a", {8, 4, 1, 1}}, {"b", {1, 1, 6}}, {"c", {-1, 5}, true}, {"d", {2, 1, 3}}};
  const LayoutMatch match =
      match_names(hollow_file({{"a", {8, 4}}, {"b", {6}}, {"c", {7, 5, 1, 1}}, {"d", {2, 3}}}), wanted);
  EXPECT_EQ(match.matched, 3);
  EXPECT_EQ(match.mismatched, std::vector<std::string>{"d (2, 1, 3) is (2, 3) in the file"});
}

TEST(Layouts, OrderAndShapesAreTheLastResort) {
  const std::vector<std::string> foreign{"a.weight", "b.weight", "b.bias",    "c.weight",
                                         "d.weight", "e.weight", "out.weight"};
  Named tensors = spelled_as(foreign);
  tensors.insert(tensors.begin(), {"queue", {4, 3, 3, 3}});
  const TensorFile file = hollow_file(tensors);
  const LayoutMatch match = match_layout(file, kSmall);
  EXPECT_TRUE(match.by_order && match.complete());
  EXPECT_EQ(match.tensors[3]->name, "c.weight");
  EXPECT_EQ(match.tensors[6]->name, "out.weight");
  EXPECT_EQ(match.unexpected, std::vector<std::string>{"queue (4, 3, 3, 3)"});

  // The same tensors twice: nothing tells which ones are meant.
  Named twice = tensors;
  for (auto [name, shape] : spelled_as(foreign)) twice.emplace_back("k." + name, shape);
  EXPECT_FALSE(match_layout(hollow_file(twice), kSmall).complete());

  // The order contradicts a name.
  std::vector<std::string> swapped = foreign;
  swapped[1] = "layer1.0.bn1.weight";
  EXPECT_FALSE(match_layout(hollow_file(spelled_as(swapped)), kSmall).complete());

  // Weight and bias exchanged have the same shapes.
  std::vector<std::string> kinds = foreign;
  std::swap(kinds[1], kinds[2]);
  EXPECT_FALSE(match_layout(hollow_file(spelled_as(kinds)), kSmall).complete());
}

TEST(Layouts, AskedForByName) {
  const TensorFile plain = hollow_file(prefixed("state_dict."));
  EXPECT_EQ(match_layout(plain, kSmall).layout_name(), "torchvision");
  const LayoutMatch simclr = match_layout(plain, kSmall, "simclr-v1");  // nothing in its names tells
  EXPECT_EQ(simclr.layout_name(), "simclr-v1");
  EXPECT_EQ(simclr.normalization().mean[0], 0.0f);
  EXPECT_TRUE(simclr.complete());
  EXPECT_FALSE(match_layout(plain, kSmall, "mocov2").complete());
  expect_contains(error_of([&] { match_layout(plain, kSmall, "moco2"); }), "mocov2");
  for (const std::string& name : layout_names()) EXPECT_NO_THROW(match_layout(plain, kSmall, name)) << name;
}

TEST(Layouts, WhatDoesNotFitIsListed) {
  Named tensors = prefixed("module.");
  tensors[1].second = {5};
  tensors.erase(tensors.begin());
  const LayoutMatch match = match_layout(hollow_file(tensors), kSmall);
  EXPECT_FALSE(match.complete());
  EXPECT_EQ(match.missing, std::vector<std::string>{"conv1.weight (4, 3, 3, 3)"});
  EXPECT_EQ(match.mismatched, std::vector<std::string>{"bn1.weight (4) is (5) in the file"});
}

}  // namespace
}  // namespace coss::test
