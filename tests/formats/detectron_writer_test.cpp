// Detectron2's pickle as coss writes it, read back by the pickle machine.
#include "formats/detectron_writer.h"

#include <cstring>
#include <filesystem>

#include "formats/torch_objects.h"
#include "tests/formats/format_support.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

NamedTensor filled(const std::string& name, std::vector<int64_t> shape, float first) {
  NamedTensor tensor{name, FileDType::f32, std::move(shape), {}};
  const size_t numel = size_t(checked_numel(tensor.shape, FileDType::f32, name));
  std::vector<float> values(numel);
  for (size_t i = 0; i < numel; ++i) values[i] = first + float(i);
  tensor.bytes.resize(numel * sizeof(float));
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

TEST(DetectronWriter, NamesOfAResnet) {
  const std::pair<const char*, const char*> kNames[] = {
      {"conv1.weight", "stem.conv1.weight"},
      {"bn1.running_mean", "stem.conv1.norm.running_mean"},
      {"layer1.0.conv2.weight", "res2.0.conv2.weight"},
      {"layer3.22.bn3.bias", "res4.22.conv3.norm.bias"},
      {"layer4.0.downsample.0.weight", "res5.0.shortcut.weight"},
      {"layer4.0.downsample.1.running_var", "res5.0.shortcut.norm.running_var"},
      {"fc.weight", ""},
      {"bn1.num_batches_tracked", ""},
      {"features.0.0.weight", ""}};
  for (const auto& [name, expected] : kNames) EXPECT_EQ(detectron_name(name), expected) << name;
}

TEST(DetectronWriter, WhatIsWrittenIsAPickleOfArrays) {
  const std::string path = scratch_folder() + "/r.pkl";
  NamedTensor half{"layer2.1.bn1.weight", FileDType::f16, {2}, {0x00, 0x3c, 0x00, 0xc0}};  // 1, -2
  write_detectron(path, {filled("conv1.weight", {4, 3, 7, 7}, 5),
                         filled("bn1.bias", {70000}, 0),
                         half,
                         {"bn1.num_batches_tracked", FileDType::i64, {}, std::vector<uint8_t>(8)},
                         filled("fc.weight", {2, 4}, 0)});

  const std::string text = read_text(path);
  ByteStream stream(path, {text.begin(), text.end()});
  PickleHeap heap(path);
  TorchObjects objects;
  std::map<std::string, std::string> metadata;
  const std::vector<FileTensor> tensors = objects.flatten(heap, run_pickle(stream, heap, objects), metadata);
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(metadata.at("__author__"), "coss");
  const auto values = [&](const FileTensor& tensor) {
    return floats_from(objects.storages()[size_t(tensor.storage)].bytes, tensor.dtype, tensor.name);
  };
  EXPECT_EQ(tensors[0].name, "model.stem.conv1.weight");
  EXPECT_EQ(tensors[0].shape, (std::vector<int64_t>{4, 3, 7, 7}));
  EXPECT_EQ(values(tensors[0])[587], 592.0f);
  EXPECT_EQ(tensors[1].name, "model.stem.conv1.norm.bias");
  EXPECT_EQ(values(tensors[1])[69999], 69999.0f);
  EXPECT_EQ(tensors[2].name, "model.res3.1.conv1.norm.weight");
  EXPECT_EQ(tensors[2].dtype, FileDType::f32);
  EXPECT_EQ(values(tensors[2]), (std::vector<float>{1, -2}));
}

TEST(DetectronWriter, RefusesOtherNetworks) {
  const std::string path = scratch_folder() + "/r.pkl";
  expect_contains(error_of([&] {
                    write_detectron(path, {filled("features.0.0.weight", {4, 3, 3, 3}, 0)});
                  }),
                  "ResNets only");
  expect_contains(error_of([&] { write_detectron(path, {filled("conv1.weight", {4, 3, 3, 3}, 0)}); }), "7x7");
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace coss::test
