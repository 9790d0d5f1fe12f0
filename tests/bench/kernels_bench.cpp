// Speed of the CPU's heavy kernels on the shapes of the networks that are trained with them. The counter is in floating
// point operations per second of processor time, so `OMP_NUM_THREADS=1` gives the figure per core.
#include <benchmark/benchmark.h>

#include <limits>
#include <string>
#include <vector>

#include "engine/kernels.h"

namespace {

using namespace coss;

struct ConvCase {
  const char* name;
  int64_t batch, size, in, out, window, stride;
  bool depthwise = false;
};

const std::vector<ConvCase> kConvs = {
    {"resnet18/stem", 8, 224, 3, 64, 7, 2},
    {"resnet18/layer1", 8, 56, 64, 64, 3, 1},
    {"resnet18/layer2_down", 8, 56, 64, 128, 3, 2},
    {"resnet18/layer2", 8, 28, 128, 128, 3, 1},
    {"resnet18/layer3", 8, 14, 256, 256, 3, 1},
    {"resnet18/layer4_down", 8, 14, 256, 512, 3, 2},
    {"resnet18/layer4", 8, 7, 512, 512, 3, 1},
    {"resnet50/layer1_expand", 8, 56, 64, 256, 1, 1},
    {"resnet50/layer1_reduce", 8, 56, 256, 64, 1, 1},
    {"resnet50/layer2_down", 8, 56, 256, 512, 1, 2},
    {"resnet50/layer2_expand", 8, 28, 128, 512, 1, 1},
    {"resnet50/layer3_expand", 8, 14, 256, 1024, 1, 1},
    {"resnet50/layer4_expand", 8, 7, 512, 2048, 1, 1},
    {"cifar/stem", 256, 32, 3, 16, 3, 1},
    {"cifar/layer1", 256, 32, 16, 16, 3, 1},
    {"cifar/layer2_down", 256, 32, 16, 32, 3, 2},
    {"cifar/layer2", 256, 16, 32, 32, 3, 1},
    {"cifar/layer3_down", 256, 16, 32, 64, 3, 2},
    {"cifar/layer3", 256, 8, 64, 64, 3, 1},
    {"mobilenet_v2/stem", 8, 224, 3, 32, 3, 2},
    {"mobilenet_v2/depthwise_112", 8, 112, 32, 32, 3, 1, true},
    {"mobilenet_v2/depthwise_112_down", 8, 112, 96, 96, 3, 2, true},
    {"mobilenet_v2/depthwise_56", 8, 56, 144, 144, 3, 1, true},
    {"mobilenet_v2/depthwise_14", 8, 14, 384, 384, 3, 1, true},
    {"mobilenet_v2/depthwise_7", 8, 7, 960, 960, 3, 1, true},
    {"mobilenet_v2/expand_112", 8, 112, 16, 96, 1, 1},
    {"mobilenet_v2/project_56", 8, 56, 144, 24, 1, 1},
    {"mobilenet_v2/expand_14", 8, 14, 64, 384, 1, 1},
};

enum class Pass { forward, bias_relu, bias_add_relu, dgrad, wgrad };
const char* const kPassNames[] = {"forward", "bias_relu", "bias_add_relu", "dgrad", "wgrad"};

Tensor normal(Shape shape, DType dtype, uint64_t stream) {
  Context& ctx = context(Device::cpu);
  Tensor wide(shape, DType::f32, Device::cpu), narrow(shape, dtype, Device::cpu);
  kernels(Device::cpu).random_normal(ctx, 1, stream, 0, 1, wide);
  kernels(Device::cpu).cast(ctx, wide, narrow);
  return narrow;
}

void run_conv(benchmark::State& state, const ConvCase& c, Pass pass, DType dtype) {
  const Kernels& k = kernels(Device::cpu);
  Context& ctx = context(Device::cpu);
  const ConvParams p{c.stride, c.window / 2, 1, 1, c.depthwise};
  const int64_t size = p.out_size(c.size, c.window), in = c.depthwise ? 1 : c.in;
  const Shape w_shape = c.depthwise ? Shape{c.window, c.window, c.in} : Shape{c.out, c.window, c.window, c.in};
  Tensor x = normal({c.batch, c.size, c.size, c.in}, dtype, 1), w = normal(w_shape, dtype, 2);
  Tensor y = normal({c.batch, size, size, c.out}, dtype, 3), bias = normal({c.out}, DType::f32, 4);
  Tensor residual = pass == Pass::bias_add_relu ? normal(y.shape(), dtype, 5) : Tensor();
  Tensor dw = normal(w_shape, DType::f32, 6);
  for (auto _ : state) {
    switch (pass) {
      case Pass::forward:
        k.conv2d_forward(ctx, p, x, w, y);
        break;
      case Pass::bias_relu:
      case Pass::bias_add_relu:
        k.conv2d_bias_act(ctx, p, Activation::relu, x, w, bias, residual, y);
        break;
      case Pass::dgrad:
        k.conv2d_dgrad(ctx, p, w, y, x);
        break;
      case Pass::wgrad:
        k.conv2d_wgrad(ctx, p, x, y, 1, dw);
        break;
    }
  }
  const double flops = 2.0 * double(y.numel() * c.window * c.window * in);
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

void run_matmul(benchmark::State& state, MatmulParams p, DType dtype) {
  Context& ctx = context(Device::cpu);
  constexpr int64_t kRows = 256, kIn = 512, kOut = 2048;
  Tensor a = normal({kRows, p.transpose_a ? kOut : kIn}, dtype, 1), b = normal({kOut, kIn}, dtype, 2);
  if (p.transpose_a) b = normal({kRows, kIn}, dtype, 2);
  Tensor y({p.transpose_a ? kOut : kRows, p.transpose_a ? kIn : kOut}, p.beta != 0 ? DType::f32 : dtype, Device::cpu);
  for (auto _ : state) kernels(Device::cpu).matmul(ctx, p, a, b, Tensor(), y);
  state.counters["FLOP/s"] =
      benchmark::Counter(2.0 * kRows * kIn * kOut, benchmark::Counter::kIsIterationInvariantRate);
}

void run_topk(benchmark::State& state, int64_t queries, int64_t keys, int64_t depth, int64_t k) {
  Context& ctx = context(Device::cpu);
  const Kernels& table = kernels(Device::cpu);
  const Tensor q = normal({queries, depth}, DType::f32, 1), all = normal({keys, depth}, DType::f32, 2);
  Tensor values({queries, k}, DType::f32, Device::cpu), indices({queries, k}, DType::i32, Device::cpu);
  for (auto _ : state) {
    table.fill(ctx, -std::numeric_limits<double>::infinity(), values);
    table.fill(ctx, -1, indices);
    table.topk_inner(ctx, -1, 0, q, all, values, indices);
  }
  state.counters["FLOP/s"] =
      benchmark::Counter(2.0 * double(queries * keys * depth), benchmark::Counter::kIsIterationInvariantRate);
}

void register_all() {
  for (DType dtype : {DType::f32, DType::bf16}) {
    for (const ConvCase& c : kConvs) {
      for (Pass pass : {Pass::forward, Pass::bias_relu, Pass::bias_add_relu, Pass::dgrad, Pass::wgrad}) {
        const std::string name = std::string(c.name) + "/" + kPassNames[int(pass)] + "/" + name_of(dtype);
        benchmark::RegisterBenchmark(name.c_str(), run_conv, c, pass, dtype)->MeasureProcessCPUTime();
      }
    }
    const std::string suffix = std::string("/") + name_of(dtype);
    const MatmulParams forward{.transpose_a = false, .transpose_b = true};
    const MatmulParams weight_gradient{.transpose_a = true, .transpose_b = false, .beta = 1};
    benchmark::RegisterBenchmark(("linear/forward" + suffix).c_str(), run_matmul, forward, dtype)
        ->MeasureProcessCPUTime();
    benchmark::RegisterBenchmark(("linear/wgrad" + suffix).c_str(), run_matmul, weight_gradient, dtype)
        ->MeasureProcessCPUTime();
  }
  benchmark::RegisterBenchmark("topk/10000x50000x64/k31", run_topk, 10000, 50000, 64, 31)->MeasureProcessCPUTime();
  benchmark::RegisterBenchmark("topk/10000x50000x64/k384", run_topk, 10000, 50000, 64, 384)->MeasureProcessCPUTime();
  benchmark::RegisterBenchmark("topk/3000x9000x1280/k200", run_topk, 3000, 9000, 1280, 200)->MeasureProcessCPUTime();
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
