// The methods with queues: their losses against PyTorch, properties of the formulas, queues and averaged twins.
#include "losses/frame/queue.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "losses/compress.h"
#include "losses/frame/heads.h"
#include "losses/frame/momentum.h"
#include "losses/moco.h"
#include "losses/seed.h"
#include "tests/losses/toys.h"
#include "tests/support/golden_file.h"
#include "tests/support/gradient_check.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

constexpr Device kDouble = Device::reference;
constexpr QueueContrastParams kSeed{.student_temperature = 0.2f, .teacher_temperature = 0.07f};

Tensor drawn(Shape shape, uint64_t seed) { return random_tensor(shape, DType::f64, kDouble, seed); }
Tensor unit(const Tensor& x) { return unit_rows(Var(x)).value; }

struct Loss {
  const char* name;
  std::function<Var(const Var& student, const Tensor& alike, const Tensor& teacher, const Tensor& queue,
                    const Tensor& teacher_queue)>
      value;
};
const std::vector<Loss>& losses() {
  static const std::vector<Loss> list{
      {"seed", [](auto& s, auto& a, auto&, auto& q, auto&) { return seed_loss(kSeed, s, a, q).total; }},
      {"seed_sharp",
       [](auto& s, auto& a, auto&, auto& q, auto&) {
         return seed_loss({0.2f, 1e-4f}, s, a, q).total;
       }},
      {"compress", [](auto& s, auto&, auto& t, auto& q, auto& r) { return compress_loss(0.04f, s, q, t, r).total; }},
      {"info_nce", [](auto& s, auto& a, auto&, auto& q, auto&) { return info_nce_loss(0.2f, s, a, q).total; }},
      {"distance", [](auto& s, auto& a, auto&, auto&, auto&) { return unit_distance_loss(s, a); }}};
  return list;
}

// The gradient of a loss, followed by its value.
std::vector<double> outcome(const std::function<Var(const Var&)>& loss, const Tensor& student) {
  const Var x(student, std::make_shared<Grad>());
  Tape tape;
  const Var total = loss(x);
  tape.backward(total);
  std::vector<double> all = x.grad->value.to_doubles();
  all.push_back(total.value.item());
  return all;
}

TEST(Queues, LossesAreThoseOfPyTorch) {
  const GoldenFile goldens("contrast.safetensors");
  constexpr int64_t kBatches[][4] = {{5, 7, 9, 11}, {13, 33, 20, 67}, {37, 19, 19, 130}};
  for (uint64_t batch = 0; batch < 3; ++batch) {
    const auto [n, width, teacher_width, keys] = kBatches[batch];
    const auto noise = [&, seed = batch](const char* name, int64_t rows, int64_t columns) {
      return Tensor::from(golden_noise(name, rows * columns, seed), {rows, columns}, kDouble);
    };
    const Tensor student = noise("student", n, width), alike = noise("alike", n, width);
    const Tensor teacher = noise("teacher", n, teacher_width), queue = unit(noise("queue", keys, width));
    const Tensor teacher_queue = unit(noise("teacher_queue", keys, teacher_width));
    for (const Loss& loss : losses()) {
      const std::string key = std::to_string(batch) + "/" + loss.name;
      std::vector<double> expected = goldens.values(key + "/gradient");
      expected.push_back(goldens.number(key));
      const auto value = [&](const Var& x) { return loss.value(x, alike, teacher, queue, teacher_queue); };
      EXPECT_LT(normalized_error(outcome(value, student), expected), 1e-12) << key;
      // Features in bf16: the loss computes in fp32 from them.
      const auto rounded = [&](const Tensor& x) { return convert(x, DType::bf16, Device::cpu); };
      const auto wide = [&](const Tensor& x) { return convert(x, DType::f32, Device::cpu); };
      const auto narrow = [&](const Var& x) {
        return loss.value(x, rounded(alike), rounded(teacher), wide(queue), wide(teacher_queue));
      };
      EXPECT_LT(normalized_error(outcome(narrow, rounded(student)), expected), 2e-3) << key;
    }
  }
}

TEST(Queues, GradientsInDouble) {
  for (const int64_t rows : {1, 4}) {
    const Tensor alike = drawn({rows, 5}, 2), teacher = drawn({rows, 6}, 3);
    const Tensor queue = unit(drawn({9, 5}, 4)), teacher_queue = unit(drawn({9, 6}, 5));
    for (const Loss& loss : losses())
      EXPECT_LT(gradient_error(
                    [&](const std::vector<Var>& in) { return loss.value(in[0], alike, teacher, queue, teacher_queue); },
                    {drawn({rows, 5}, 1)}),
                1e-9)
          << loss.name;
  }
}

TEST(Queues, LeastWhereStudentAndTeacherAgree) {
  const Tensor rows = drawn({6, 5}, 1), queue = unit(drawn({20, 5}, 2));
  const auto least = [&](const std::function<Var(const Var&)>& loss, double expected) {
    std::vector<double> all = outcome(loss, rows);
    EXPECT_NEAR(all.back(), expected, 1e-12);
    all.pop_back();
    for (const double g : all) EXPECT_NEAR(g, 0, 1e-12);
    EXPECT_GT(loss(Var(drawn({6, 5}, 3))).value.item(), expected);
  };
  least([&](const Var& x) { return compress_loss(0.04f, x, queue, rows, queue).total; }, 0);
  least([&](const Var& x) { return unit_distance_loss(x, rows); }, 0);
  // The cross-entropy's minimum is the teacher's entropy.
  const Tensor t = unit(rows);
  const double entropy = queue_loss({0.1f, 0.1f, false}, Var(t), {{}, t, queue}, {t, t, queue}).total.value.item();
  least([&](const Var& x) { return seed_loss({0.1f, 0.1f}, x, rows, queue).total; }, entropy);
}

// Neither the length of a row nor the order of the queue matters.
TEST(Queues, Invariances) {
  const Tensor student = drawn({4, 5}, 1), alike = drawn({4, 5}, 2), teacher = drawn({4, 6}, 3);
  const Tensor queue = unit(drawn({9, 5}, 4)), teacher_queue = unit(drawn({9, 6}, 5));
  const auto stretched = [](const Tensor& x) {
    std::vector<double> values = x.to_doubles();
    for (size_t i = 0; i < values.size(); ++i) values[i] *= 0.5 + double(i / size_t(x.shape()[1]));
    return Tensor::from(values, x.shape(), x.device());
  };
  const auto turned = [](const Tensor& x) {
    const std::vector<double> values = x.to_doubles();
    std::vector<double> result;
    for (int64_t r = x.shape()[0] - 1; r >= 0; --r)
      for (int64_t d = 0; d < x.shape()[1]; ++d) result.push_back(values[size_t(r * x.shape()[1] + d)]);
    return Tensor::from(result, x.shape(), x.device());
  };
  for (const Loss& loss : losses()) {
    const double value = loss.value(Var(student), alike, teacher, queue, teacher_queue).value.item();
    EXPECT_NEAR(
        loss.value(Var(stretched(student)), stretched(alike), stretched(teacher), queue, teacher_queue).value.item(),
        value, 1e-12)
        << loss.name;
    EXPECT_NEAR(loss.value(Var(student), alike, teacher, turned(queue), turned(teacher_queue)).value.item(), value,
                1e-12)
        << loss.name;
  }
}

TEST(Queues, FirstRowsAndTurns) {
  Queue queue("queue", 5, 3), other("other", 5, 3);
  for (Queue* each : {&queue, &other}) each->prepare(Device::cpu, DType::bf16, 7);
  EXPECT_EQ(queue.rows().dtype(), DType::f32);
  EXPECT_NE(queue.rows().to_doubles(), other.rows().to_doubles());
  const std::vector<double> first = queue.rows().to_doubles();
  EXPECT_NEAR(first[0] * first[0] + first[1] * first[1] + first[2] * first[2], 1, 1e-6);
  for (uint64_t push = 0; push < 2; ++push) queue.push(random_tensor({4, 3}, DType::f32, Device::cpu, push));
  const std::vector<double> last = random_tensor({4, 3}, DType::f32, Device::cpu, 1).to_doubles();
  EXPECT_EQ(queue.rows().to_doubles()[12], last[0]);  // the fourth row took the last place
  EXPECT_EQ(queue.rows().to_doubles()[0], last[3]);
  std::vector<StateTensor> state;
  queue.add_state(state);
  EXPECT_EQ(state[0].name, "queue");
  EXPECT_EQ(state[1].name, "queue.cursor");
  EXPECT_EQ(state[1].tensor.item(), 8);
  EXPECT_THROW(queue.push(Tensor({1, 4}, DType::f32, Device::cpu)), Error);
  EXPECT_THROW(Queue("queue", 0, 3), Error);
}

TEST(Queues, RefuseWhatDoesNotFit) {
  const Tensor rows = unit(drawn({4, 5}, 1)), queue = unit(drawn({9, 5}, 2)), narrow = unit(drawn({9, 4}, 3));
  EXPECT_THROW(seed_loss(kSeed, Var(rows), rows, narrow), Error);
  EXPECT_THROW(seed_loss(kSeed, Var(rows), drawn({3, 5}, 4), queue), Error);
  EXPECT_THROW(compress_loss(0.04f, Var(rows), queue, rows, unit(drawn({8, 5}, 3))), Error);
  EXPECT_THROW(info_nce_loss(0, Var(rows), rows, queue), Error);
}

TEST(Momentum, TwinFollowsTheStudentAndItsHead) {
  Params params;
  const Scope scope(params);
  const ToyShape shape{.width = 4, .classes = 0};
  Toy student(scope / "student", shape);
  MethodParts parts{.scope = scope, .student = student};
  parts.twin = [shape](const Scope& at) { return std::make_unique<Toy>(at, shape); };
  const HeadMaker head = [](const Scope& at) { return mlp_head(at / "head", 2, 4, 5, 3); };
  const auto own_head = head(scope);
  MomentumTwin twin(parts, 0.75f, head);
  const auto more = mlp_head(scope / "predictor", 1, 3, 0, 3);  // the student's alone
  params.allocate(kDouble, DType::f64, 3);
  twin.prepare(kDouble, DType::f64);
  const Tensor images = drawn({2, 2, 2, 3}, 1), step = Tensor::from(std::vector<int64_t>{0}, {1}, kDouble);
  const auto of_student = [&] {
    return (*own_head)(student.features(Var(images), Mode::train, step, nullptr), Mode::train).value.to_doubles();
  };
  EXPECT_EQ(twin(images, step).to_doubles(), of_student());
  std::vector<StateTensor> state;
  twin.add_state(state);
  const std::vector<double> before = state[0].tensor.to_doubles();
  Tensor& weights = params.weights().value;
  kernels(kDouble).fill(context(kDouble), 2, weights);
  EXPECT_EQ(state[0].tensor.to_doubles(), before);
  twin.follow();
  const std::vector<double> after = state[0].tensor.to_doubles();
  ASSERT_LT(int64_t(after.size()), weights.numel());
  for (size_t i = 0; i < after.size(); ++i) EXPECT_NEAR(after[i], 0.75 * before[i] + 0.25 * 2, 1e-12);
  kernels(kDouble).fill(context(kDouble), 2, state[0].tensor);
  EXPECT_EQ(twin(images, step).to_doubles(), of_student());
}

// Two steps of a method. With the state after the first one restored, the second step gives the same again.
void check_state(const char* name, double patches, Device device, DType dtype) {
  SCOPED_TRACE(std::string(name) + " " + name_of(device) + " " + name_of(dtype));
  MethodOptions options = options_of(name, {{"queue", 7}});
  if (patches > 0) options.values.at("small_patches") = patches;
  Toys toys(options, {.classes = 0, .teacher_classes = 0, .device = device, .dtype = dtype, .batch = 3});
  Method& method = *toys.method;
  Params& params = toys.student_params;
  if (patches > 0) toys.inputs.views[0] = convert(drawn({3, 3, 3, 3}, 10), dtype, device);  // the first is larger
  const auto step = [&] {
    Tape tape;
    const LossTerms terms = method.forward(toys.inputs);
    tape.backward(terms.total);
    const std::vector<double> values = terms.values.to_doubles();
    EXPECT_EQ(values.size(), method.term_names().size());
    EXPECT_EQ(values[0], terms.total.value.item());
    for (const double value : values) EXPECT_TRUE(std::isfinite(value));
    EXPECT_EQ(terms.student.shape(), (Shape{3, kToyDim}));
    return values;
  };
  const std::vector<double> first = step();
  kernels(device).fill(context(device), 0.5, params.weights().value);
  params.refresh_compute();
  method.after_update();
  toys.keep();
  const std::vector<double> second = step();
  EXPECT_NE(first, second);
  toys.restore();
  EXPECT_EQ(step(), second);
}

TEST(QueueMethods, StateIsAllThatAStepLeavesBehind) {
  for (const char* name : {"seed", "compress_1q", "compress_2q", "moco_v2", "disco"}) {
    check_state(name, 0, kDouble, DType::f64);
    for (const Device device : devices_for_networks()) check_state(name, 0, device, DType::bf16);
  }
  check_state("seed", 2, kDouble, DType::f64);
}

}  // namespace
}  // namespace coss::test
