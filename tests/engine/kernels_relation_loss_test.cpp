// Losses over relations between rows against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

namespace {

// All of these compute in the accumulator's dtype, for any dtype of the activations.
std::vector<Backend> devices() {
  std::vector<Backend> list = backends();
  std::erase_if(list, [](const Backend& backend) { return backend.compute != DType::f32; });
  return list;
}

constexpr int64_t kSizes[] = {1, 2, 3, 5, 17, 33, 70};

// Inner products of n rows of some width; rows `same` .. n - 1 are equal, if there are any.
std::vector<double> inner_products(int64_t n, uint64_t seed, int64_t same = -1, double stddev = 1) {
  const int64_t width = 6;
  std::vector<double> x = random_tensor({n, width}, DType::f64, Device::reference, seed, stddev).to_doubles();
  for (int64_t i = same; same >= 0 && i < n; ++i) std::copy_n(x.begin() + same * width, width, x.begin() + i * width);
  std::vector<double> gram(size_t(n * n), 0);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t d = 0; d < width; ++d)
        gram[size_t(i * n + j)] += x[size_t(i * width + d)] * x[size_t(j * width + d)];
  return gram;
}

std::vector<double> cosines(int64_t n, uint64_t seed) {
  std::vector<double> gram = inner_products(n, seed), unit = gram;
  for (int64_t at = 0; at < n * n; ++at)
    unit[size_t(at)] /= std::sqrt(gram[size_t(at / n * (n + 1))] * gram[size_t(at % n * (n + 1))]);
  return unit;
}

}  // namespace

class RelationLosses : public KernelTest {};
INSTANTIATE_TEST_SUITE_P(Devices, RelationLosses, testing::ValuesIn(devices()),
                         [](const auto& test) { return backend_name(test.param); });

TEST_P(RelationLosses, SimilarityPreserving) {
  for (const int64_t n : kSizes) {
    SCOPED_TRACE(n);
    Twin s = twin(inner_products(n, 1), {n, n}, accumulator()), t = twin(inner_products(n, 2), {n, n}, accumulator());
    Twin loss = output({1}, accumulator()), ds = output({n, n}, accumulator());
    both([&](const Kernels& k, Context& c, int side) { k.sp_loss(c, s[side], t[side], loss[side], ds[side]); });
    if (n == 1) {  // one row is like itself
      EXPECT_NEAR(loss[0].item(), 0, 1e-12);
      EXPECT_NEAR(ds[0].item(), 0, 1e-6);
      continue;
    }
    expect_close(loss);
    expect_close(ds);
  }
}

TEST_P(RelationLosses, Probabilities) {
  for (const int64_t n : kSizes) {
    SCOPED_TRACE(n);
    Twin s = twin(cosines(n, 1), {n, n}, accumulator()), t = twin(cosines(n, 2), {n, n}, accumulator());
    Twin loss = output({1}, accumulator()), ds = output({n, n}, accumulator());
    both([&](const Kernels& k, Context& c, int side) { k.pkt_loss(c, s[side], t[side], loss[side], ds[side]); });
    if (n <= 2) {  // hardly anything differs: terms of both signs cancel
      EXPECT_NEAR(loss[0].item(), loss[1].item(), 1e-7);
      EXPECT_NEAR(ds[0].item(), ds[1].item(), 1e-6);
      continue;
    }
    expect_close(loss, 10);  // the mean of terms of both signs
    expect_close(ds);
  }
}

TEST_P(RelationLosses, DistancesAndAngles) {
  for (const int64_t n : kSizes) {
    for (const int64_t same : {int64_t(-1), n / 2}) {
      for (const RkdParams& p : {RkdParams{}, RkdParams{25, 0}, RkdParams{0, 50}}) {
        if (n == 70 && (same >= 0 || p.angle_weight == 0 || p.distance_weight == 0)) continue;
        SCOPED_TRACE(testing::Message() << n << " rows, equal from " << same << ", weights " << p.distance_weight);
        Twin s = twin(inner_products(n, 1, same, 3), {n, n}, accumulator());
        Twin t = twin(inner_products(n, 2), {n, n}, accumulator());
        Twin terms = output({3}, accumulator()), ds = output({n, n}, accumulator());
        both(
            [&](const Kernels& k, Context& c, int side) { k.rkd_loss(c, p, s[side], t[side], terms[side], ds[side]); });
        if (n == 1) {
          for (const double value : terms[0].to_doubles()) EXPECT_EQ(value, 0);
          EXPECT_EQ(ds[0].item(), 0);
        } else if (n == 2) {  // their distance is the mean, and no angle differs, unless equal rows have no angle
          for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(terms[0].to_doubles()[i], terms[1].to_doubles()[i], 1e-5);
        } else {
          expect_close(terms);
          expect_close(ds, 10);  // distances are differences of products that are larger
        }
      }
    }
  }
}

TEST_P(RelationLosses, NodesAndEdges) {
  for (const int64_t n : kSizes) {
    SCOPED_TRACE(n);
    Twin s = twin(cosines(n, 1), {n, n}, accumulator()), t = twin(cosines(n, 2), {n, n}, accumulator());
    Twin nodes = normal({n, n}, accumulator(), 3), terms = output({3}, accumulator());
    Twin ds = output({n, n}, accumulator()), dnodes = output({n, n}, accumulator());
    both([&](const Kernels& k, Context& c, int side) {
      k.ega_loss(c, {}, s[side], t[side], nodes[side], terms[side], ds[side], dnodes[side]);
    });
    expect_close(terms);
    expect_close(dnodes);
    if (n > 1) expect_close(ds);
  }
}

// Nothing differs, so both norms are 0, where the gradient is defined as 0.
TEST_P(RelationLosses, NodesAndEdgesAtTheirMinimum) {
  Twin edges = twin(cosines(4, 1), {4, 4}, accumulator()), terms = output({3}, accumulator());
  Twin nodes = twin({1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}, {4, 4}, accumulator());
  Twin ds = output({4, 4}, accumulator()), dnodes = output({4, 4}, accumulator());
  both([&](const Kernels& k, Context& c, int side) {
    k.ega_loss(c, {}, edges[side], edges[side], nodes[side], terms[side], ds[side], dnodes[side]);
  });
  for (Tensor x : {terms[0], ds[0], dnodes[0]})
    for (const double value : x.to_doubles()) EXPECT_EQ(value, 0);
}

TEST_P(RelationLosses, InstanceEdges) {
  for (const int64_t n : kSizes) {
    for (const int64_t same : {int64_t(-1), n / 2, int64_t(0)}) {
      SCOPED_TRACE(testing::Message() << n << " rows, equal from " << same);
      Twin s = twin(inner_products(n, 1, same), {n, n}, accumulator());
      Twin t = twin(inner_products(n, 2), {n, n}, accumulator());
      Twin loss = output({1}, accumulator()), ds = output({n, n}, accumulator());
      both([&](const Kernels& k, Context& c, int side) { k.irg_loss(c, s[side], t[side], loss[side], ds[side]); });
      if (n > 2 || (n == 2 && same == 0)) expect_close(loss);
      if (n > 2 && same != 0) {
        expect_close(ds, 10);
      } else {  // one distance is always the largest
        for (const double value : ds[0].to_doubles()) EXPECT_NEAR(value, 0, 1e-6);
      }
    }
  }
}

TEST_P(RelationLosses, InstancePaths) {
  for (const int64_t n : kSizes) {
    for (const bool zero : {false, true}) {
      SCOPED_TRACE(testing::Message() << n << " rows" << (zero ? " of zeros" : ""));
      Twin s = zero ? constant(0, {n, 19}, accumulator()) : normal({n, 19}, accumulator(), 1);
      Twin t = normal({n, 300}, accumulator(), 2);
      Twin loss = output({1}, accumulator()), ds = output({n, 19}, accumulator());
      both([&](const Kernels& k, Context& c, int side) { k.irg_path_loss(c, s[side], t[side], loss[side], ds[side]); });
      EXPECT_NEAR(loss[0].item(), loss[1].item(), 1e-6);
      if (n > 1 && !zero)
        expect_close(ds);
      else
        for (const double value : ds[0].to_doubles()) EXPECT_NEAR(value, 0, 1e-6);
    }
  }
}

TEST_P(RelationLosses, TheSameInputsGiveTheSameBytes) {
  const int64_t n = 45;
  Twin s = twin(inner_products(n, 1), {n, n}, accumulator()), t = twin(inner_products(n, 2), {n, n}, accumulator());
  std::vector<double> first;
  for (int run = 0; run < 2; ++run) {
    Twin terms = output({3}, accumulator()), ds = output({n, n}, accumulator());
    kernels(backend_.device).rkd_loss(context(backend_.device), {}, s[0], t[0], terms[0], ds[0]);
    std::vector<double> all = ds[0].to_doubles();
    all.push_back(terms[0].to_doubles()[0]);
    if (run == 0) first = all;
    EXPECT_EQ(all, first);
  }
}

}  // namespace coss::test
