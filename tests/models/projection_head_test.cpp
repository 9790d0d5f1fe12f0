// Projection heads against PyTorch's, and heads that are found by the tensors of a file.
#include "models/projection_head.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/models/model_goldens.h"
#include "tests/support/golden_file.h"

namespace coss::test {
namespace {

const GoldenFile& goldens() {
  static const GoldenFile file("vit.safetensors");
  return file;
}

// The method's head with the widths that the goldens have.
ProjectionOptions options_of(const std::string& method) {
  const bool deep = method != "mocov2" && method != "simclr";
  ProjectionOptions options = projection_of(method, 24, deep ? 40 : 24, method == "dino" ? 16 : 8);
  if (method == "dino") options.prototypes = 56;
  return options;
}

void expect_head(const std::string& method, Device device, DType dtype, double bound) {
  SCOPED_TRACE(method + " " + name_of(device));
  const std::string key = "head_" + method + "/";
  const auto rows = [&](uint64_t seed) {
    return make_tensor(golden_noise("rows", 6 * 24, seed), {6, 24}, dtype, device);
  };
  Params params;
  ProjectionHead head(Scope(params), options_of(method));
  params.allocate(device, dtype, 0);
  fill_golden_weights(params, "", 0, 0.7);
  EXPECT_EQ(head(Var(rows(0)), Mode::eval).shape(), (Shape{6, head.width}));
  EXPECT_LT(normalized_error(head(Var(rows(0)), Mode::eval).value.to_doubles(), goldens().values(key + "eval")), bound);

  Tape tape;
  const Var x(rows(1), std::make_shared<Grad>());
  const Var y = head(x, Mode::train);
  EXPECT_LT(normalized_error(y.value.to_doubles(), goldens().values(key + "train")), bound);
  const Tensor weights = make_tensor(golden_noise("loss", y.value.numel()), y.shape(), dtype, device);
  tape.backward(weighted_sum(y, weights));
  EXPECT_LT(normalized_error(x.grad->value.to_doubles(), goldens().values(key + "input_grad")), bound);
  for (const Params::Entry& entry : params.entries()) {
    if (entry.stat) {
      EXPECT_LT(normalized_error(entry.stat->to_doubles(), goldens().values(key + "stat/" + entry.name)), bound);
      continue;
    }
    double squares = 0;
    for (const double g : entry.var->grad->value.to_doubles()) squares += g * g;
    // The gradient of a bias in front of a batch norm is rounding only.
    const double norm = goldens().number(key + "grad/" + entry.name);
    EXPECT_NEAR(std::sqrt(squares), norm, 1e-5 * norm + 1e-5) << entry.name;
  }
}

TEST(ProjectionHead, ComputesAsPytorch) {
  for (const std::string& method : projection_methods()) {
    expect_head(method, Device::reference, DType::f64, 1e-12);
    for (const Device device : devices_for_networks()) expect_head(method, device, DType::f32, 1e-9);
  }
}

// The tensors of each method's head lead to the options in the table.
TEST(ProjectionHead, IsReadOffItsTensors) {
  for (const std::string& method : projection_methods()) {
    SCOPED_TRACE(method);
    const ProjectionOptions wanted = options_of(method);
    Params params;
    const ProjectionHead head(Scope(params), wanted);
    std::vector<ProjectionTensor> tensors{{"num_batches_tracked", {}}};
    for (const Params::Entry& entry : params.entries())
      tensors.push_back({entry.name, {entry.shape.dims.begin(), entry.shape.dims.begin() + entry.shape.rank}});
    const ProjectionOptions found = projection_from(tensors);
    ASSERT_EQ(found.layers.size(), wanted.layers.size());
    for (size_t i = 0; i < found.layers.size(); ++i) {
      const ProjectionLayer &a = found.layers[i], &b = wanted.layers[i];
      EXPECT_EQ(std::tie(a.linear, a.in, a.out, a.bias, a.norm, a.activation),
                std::tie(b.linear, b.in, b.out, b.bias, b.norm, b.activation));
      EXPECT_TRUE(a.norm.empty() || a.affine == b.affine);
    }
    EXPECT_EQ(found.prototypes, wanted.prototypes);
    EXPECT_EQ(found.unit_length, method == "dino");
  }
}

TEST(ProjectionHead, StrangeTensorsAreRefused) {
  EXPECT_THROW(projection_from({}), Error);
  EXPECT_THROW(projection_from({{"weight", {8, 24}}}), Error);
  EXPECT_THROW(projection_from({{"one.weight", {8, 24}}}), Error);
  EXPECT_THROW(projection_from({{"0.weight", {8, 24}}, {"2.weight", {8, 9}}}), Error);
  EXPECT_THROW(projection_from({{"0.weight", {24}}, {"0.running_mean", {24}}}), Error);
  EXPECT_THROW(projection_of("mocov4", 1, 1, 1), Error);
}

}  // namespace
}  // namespace coss::test
