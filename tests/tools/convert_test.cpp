// coss convert as its users meet it: what is found, what is written, and what is refused.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "evaluation/loaded_network.h"
#include "formats/torch_writer.h"
#include "formats/weights.h"
#include "models/network.h"
#include "tests/support/program.h"
#include "tests/support/support.h"

namespace coss {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::Outcome;

// The tensors of a fresh network with `classes` classes, each name behind `prefix`.
std::vector<NamedTensor> network_tensors(const std::string& model, int64_t classes, const std::string& prefix) {
  Params params;
  const auto network = find_model(model).make(Scope(params, "net"), classes);
  params.allocate(Device::cpu, DType::f32, 7);
  params.batches_tracked = 12;
  std::vector<NamedTensor> tensors = weights_as_tensors(params, "net");
  for (NamedTensor& tensor : tensors) tensor.name = prefix + tensor.name;
  return tensors;
}

NamedTensor extra(const std::string& name, std::vector<int64_t> shape) {
  const size_t bytes = size_t(checked_numel(shape, FileDType::f32, name)) * 4;
  return {name, FileDType::f32, std::move(shape), std::vector<uint8_t>(bytes, 1)};
}

void expect_same_tensors(const std::string& path, const std::vector<NamedTensor>& expected, size_t cut) {
  const TensorFile file = open_tensor_file(path);
  EXPECT_EQ(file.tensors().size(), expected.size());
  for (const NamedTensor& tensor : expected) {
    const FileTensor* got = file.find(tensor.name.substr(cut));
    ASSERT_NE(got, nullptr) << tensor.name;
    EXPECT_EQ(got->shape, tensor.shape);
    EXPECT_EQ(file.read_bytes(*got), tensor.bytes) << tensor.name;
  }
}

TEST(Convert, FindsTheNetworkAndWritesBothContainers) {
  const std::string folder = test::scratch_folder(), in = folder + "/in.pth", prefix = "state_dict.module.";
  // Twice as many blocks hold all that fewer want; the classifier has its own number of classes.
  const std::vector<NamedTensor> tensors = network_tensors("resnet32_cifar", 3, prefix);
  write_torch_zip(in, tensors);
  for (const char* name : {"out.safetensors", "out.pth"}) {
    const std::string out = folder + "/" + name;
    const Outcome outcome = test::run_program("convert --json " + in + " " + out);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const auto report = nlohmann::json::parse(outcome.out);
    EXPECT_EQ(report.at("model"), "resnet32_cifar");
    EXPECT_EQ(report.at("layout"), "torchvision");
    EXPECT_EQ(report.at("prefix"), prefix);
    EXPECT_EQ(report.at("left_over").size(), 0u);
    expect_same_tensors(out, tensors, prefix.size());
  }
  const TensorFile file = open_tensor_file(folder + "/out.safetensors");
  EXPECT_EQ(file.metadata().at("model"), "resnet32_cifar");
  EXPECT_EQ(file.metadata().at("image_stddev"), "0.229,0.224,0.225");
}

TEST(Convert, HeadsStayOnRequest) {
  const std::string folder = test::scratch_folder(), in = folder + "/in.safetensors";
  std::vector<NamedTensor> tensors = network_tensors("resnet18", 0, "module.");
  const size_t backbone = tensors.size();
  tensors.push_back(extra("module.projection_head.0.weight", {16, 512}));
  tensors.push_back(extra("module.prototypes.weight", {9, 16}));
  write_safetensors(in, tensors, {});
  const Outcome without = test::run_program("convert " + in + " " + folder + "/a.safetensors");
  EXPECT_EQ(without.code, 0) << without.err;
  EXPECT_TRUE(contains(without.out, "layout swav") && contains(without.out, "0.228")) << without.out;
  const TensorFile a = open_tensor_file(folder + "/a.safetensors");
  EXPECT_EQ(a.tensors().size(), backbone);
  EXPECT_EQ(a.metadata().at("image_stddev"), "0.228,0.224,0.225");
  EXPECT_EQ(test::run_program("convert --keep-heads " + in + " " + folder + "/b.safetensors").code, 0);
  const TensorFile b = open_tensor_file(folder + "/b.safetensors");
  EXPECT_EQ(b.tensors().size(), backbone + 1);
  EXPECT_NE(b.find("head.0.weight"), nullptr);

  // The other commands find what convert wrote about the network.
  const auto loaded =
      load_network(Checkpoint(folder + "/a.safetensors", "resnet18"), Classifier::optional, Device::cpu, DType::f32);
  EXPECT_EQ(loaded->normalization.stddev[0], 0.228f);

  // What a converted file says about itself stays when it is converted again.
  EXPECT_EQ(test::run_program("convert " + folder + "/a.safetensors " + folder + "/c.safetensors").code, 0);
  EXPECT_EQ(open_tensor_file(folder + "/c.safetensors").metadata().at("image_stddev"), "0.228,0.224,0.225");
}

TEST(Convert, AHeadIsNoClassifier) {
  const std::string folder = test::scratch_folder(), in = folder + "/in.pth";
  write_torch_zip(in, network_tensors("resnet18", 128, "state_dict.module.encoder_q."));
  EXPECT_EQ(test::run_program("convert --keep-heads " + in + " " + folder + "/out.pth").code, 0);
  const TensorFile file = open_tensor_file(folder + "/out.pth");
  EXPECT_EQ(file.find("fc.weight"), nullptr);
  EXPECT_NE(file.find("head.weight"), nullptr);
}

TEST(Convert, WritesTheNumericsOfModelsThatLibrariesComputeDifferently) {
  struct Case {
    const char *model, *eps, *padding, *gate_first;
  };
  const std::string folder = test::scratch_folder(), in = folder + "/in.safetensors", out = folder + "/out.safetensors";
  for (const Case& c :
       {Case{"resnet20_cifar", "", "", ""}, Case{"efficientnet_b0", "1e-05", "", ""},
        Case{"tf_efficientnet_b0", "0.001", "same", ""}, Case{"mobilenet_v3_small", "0.001", "", ""},
        Case{"mobilenetv3_small_100", "1e-05", "", ""}, Case{"mobilenet_v3_small_dli14", "1e-05", "", "true"}}) {
    SCOPED_TRACE(c.model);
    write_safetensors(in, network_tensors(c.model, 3, ""), {{"model", c.model}});
    const Outcome outcome = test::run_program("convert --force --model " + std::string(c.model) + " " + in + " " + out);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    std::map<std::string, std::string> metadata = open_tensor_file(out).metadata();
    EXPECT_EQ(metadata["model"], c.model);
    EXPECT_EQ(metadata["bn_eps"], c.eps);
    EXPECT_EQ(metadata["padding"], c.padding);
    EXPECT_EQ(metadata["se_before_activation"], c.gate_first);
  }
}

TEST(Convert, Refuses) {
  const std::string folder = test::scratch_folder(), in = folder + "/in.pth", out = folder + "/out.pth";
  std::vector<NamedTensor> tensors = network_tensors("resnet20_cifar", 10, "");
  tensors.erase(tensors.begin() + 1);
  write_torch_zip(in, tensors);
  test::write_file(folder + "/there.pth", "mine");
  struct Case {
    std::string arguments;
    int code;
    std::string message;
  };
  for (const Case& c :
       {Case{in + " " + out, 1, "the closest are resnet20_cifar ("},
        Case{in + " " + out + " --model resnet20_cifar", 1, "1 missing: bn1.weight (16)"},
        Case{in + " " + out + " --model resnet20_cifr", 1, "resnet20_cifar"},
        Case{in + " " + folder + "/there.pth", 1, "--force"}, Case{in + " " + in + " --force", 1, "the input itself"},
        Case{in + " " + folder + "/out.bin", 1, "--to"}, Case{folder + "/none.pth " + out, 1, "none.pth"},
        Case{in + " " + out + " --from moco", 2, "mocov2"}}) {
    const Outcome outcome = test::run_program("convert " + c.arguments);
    EXPECT_EQ(outcome.code, c.code) << c.arguments;
    EXPECT_TRUE(outcome.out.empty()) << outcome.out;
    EXPECT_TRUE(contains(outcome.err, c.message)) << c.arguments << ": " << outcome.err;
  }
  EXPECT_FALSE(fs::exists(out));
  EXPECT_EQ(test::read_file(folder + "/there.pth"), "mine");
}

}  // namespace
}  // namespace coss
