// ONNX: the file is a graph in order (every node's inputs exist before it), for every model; and, where COSS_ONNX_FILES
// names a folder, it is kept there with its logits for tests/goldens/make/check_onnx.py, which runs it with
// onnxruntime.
#include "formats/onnx_writer.h"

#include <cstdlib>
#include <filesystem>
#include <set>

#include "formats/npy.h"
#include "models/cost.h"
#include "tests/formats/format_support.h"
#include "tests/support/golden_file.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

struct Field {
  int number;
  std::string bytes;  // of a length-delimited field; empty for numbers
};

// The fields of a protobuf message.
std::vector<Field> fields_of(const std::string& message) {
  std::vector<Field> fields;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = uint8_t(message.at(at++));
      value |= uint64_t(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.size()) {
    const uint64_t key = varint();
    Field field{int(key >> 3), ""};
    if (key % 8 == 0) varint();
    if (key % 8 == 5) at += 4;
    if (key % 8 == 2) {
      const size_t length = varint();
      field.bytes = message.substr(at, length);
      at += length;
    }
    fields.push_back(field);
  }
  return fields;
}

std::vector<std::string> texts(const std::string& message, int number) {
  std::vector<std::string> found;
  for (const Field& field : fields_of(message))
    if (field.number == number) found.push_back(field.bytes);
  return found;
}

// Nodes of the graph, after all names were checked.
size_t expect_ordered(const std::string& model) {
  const std::string graph = texts(model, 7).at(0);
  std::set<std::string> known;
  for (const std::string& constant : texts(graph, 5)) EXPECT_TRUE(known.insert(texts(constant, 8).at(0)).second);
  for (const std::string& input : texts(graph, 11)) known.insert(texts(input, 1).at(0));
  const std::vector<std::string> nodes = texts(graph, 1);
  for (const std::string& node : nodes) {
    for (const std::string& input : texts(node, 1)) EXPECT_TRUE(known.count(input)) << input;
    EXPECT_TRUE(known.insert(texts(node, 2).at(0)).second);
  }
  for (const std::string& output : texts(graph, 12)) EXPECT_TRUE(known.count(texts(output, 1).at(0)));
  return nodes.size();
}

// Larger networks repeat the same layers; they are written only where the files are kept.
#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t kMostParameters = 1'500'000;
#else
constexpr int64_t kMostParameters = 8'000'000;
#endif
constexpr int64_t kMostToKeep = 100'000'000;

TEST(OnnxWriter, EveryModel) {
  const char* keep = std::getenv("COSS_ONNX_FILES");
  const std::string folder = keep ? keep : scratch_folder();
  for (const ModelInfo& info : models()) {
    if (cost_of(info).parameters > (keep ? kMostToKeep : kMostParameters)) continue;
    SCOPED_TRACE(info.name);
    Params params;
    const auto network = info.make(Scope(params), info.classes);
    params.allocate(Device::cpu, DType::f32, 0, /*frozen=*/true);
    fill_golden_weights(params, "", 0, 0.7);
    const Graph graph;
    const Var images(golden_images("images", 1, info.image_size, 0, DType::f32, Device::cpu));
    const Var features = network->features(images, Mode::eval);
    std::vector<OnnxOutput> outputs{{"features", features.value}};
    if (info.classes > 0) outputs.push_back({"logits", network->logits(features, Mode::eval).value});
    const std::string path = folder + "/" + info.name + ".onnx";
    write_onnx(path, graph, images.value, outputs, {{"model", info.name}});
    EXPECT_GT(expect_ordered(read_text(path)), graph.nodes().size());
    if (!keep) {
      std::filesystem::remove(path);
      continue;
    }
    const Tensor& result = outputs.back().value;
    write_npy(folder + "/" + info.name + ".npy", FileDType::f32, {result.shape()[0], result.shape()[1]}, result.raw());
  }
}

TEST(OnnxWriter, RefusesWhatDoesNotDependOnTheImages) {
  const Graph graph;
  const Tensor images = random_tensor({1, 4, 4, 3}, DType::f32, Device::cpu, 1);
  const std::string path = scratch_folder() + "/constant.onnx";
  expect_contains(
      error_of([&] {
        write_onnx(path, graph, images, {{"features", random_tensor({1, 3}, DType::f32, Device::cpu, 2)}}, {});
      }),
      "features");
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace coss::test
