// Layers register entries; allocate() gives each its offset, makes the flat buffers and hands out the views.
#include "layers/params.h"

#include <cmath>
#include <set>

namespace coss {

Init Init::kaiming_normal(int64_t fan) { return {normal, 0, float(std::sqrt(2.0 / double(fan)))}; }

Init Init::kaiming_uniform(int64_t fan_in) {
  const float bound = float(1 / std::sqrt(double(fan_in)));
  return {uniform, -bound, bound};
}

void Params::add(Entry entry) {
  COSS_ASSERT(!allocated_);
  entries_.push_back(std::move(entry));
}

void Params::add_weight(std::string name, Shape shape, FileLayout layout, Init init, Var* target, Tensor* master) {
  add({std::move(name), shape, layout, Role::weight, init, 0, target, master, nullptr});
}

void Params::add_rest(std::string name, Shape shape, Init init, Var* target, FileLayout layout) {
  add({std::move(name), shape, layout, Role::rest, init, 0, target, nullptr, nullptr});
}

void Params::add_stat(std::string name, Shape shape, Init init, Tensor* target) {
  add({std::move(name), shape, FileLayout::plain, Role::stat, init, 0, nullptr, nullptr, target});
}

namespace {

// The first half of the width encodes a token's row, the second its column: sines, then cosines, of falling
// frequencies.
void fill_positions(Tensor& value) {
  const int64_t tokens = value.shape()[0], width = value.shape()[1], quarter = width / 4;
  const int64_t side = int64_t(std::sqrt(double(tokens)));
  COSS_ASSERT(quarter * 4 == width && (side * side == tokens || side * side + 1 == tokens));
  std::vector<float> rows(size_t(tokens * width), 0);
  for (int64_t i = 0; i < side * side; ++i)
    for (int64_t j = 0; j < quarter; ++j) {
      const double frequency = std::pow(10000, -double(j) / double(quarter));
      float* row = rows.data() + (tokens - side * side + i) * width + j;
      for (const int64_t place : {i / side, i % side}) {
        row[0] = float(std::sin(double(place) * frequency));
        row[quarter] = float(std::cos(double(place) * frequency));
        row += 2 * quarter;
      }
    }
  const Tensor source = Tensor::from(rows, value.shape(), value.device());
  kernels(value).cast(context(value.device()), source, value);
}

void initialize(const Init& init, uint64_t seed, uint64_t stream, Tensor& value) {
  Context& ctx = context(value.device());
  const Kernels& k = kernels(value);
  switch (init.kind) {
    case Init::constant:
      return k.fill(ctx, init.a, value);
    case Init::normal:
      return k.random_normal(ctx, seed, stream, init.a, init.b, value);
    case Init::uniform:
      return k.random_uniform(ctx, seed, stream, init.a, init.b, value);
    case Init::positions:
      return fill_positions(value);
  }
}

// Every parameter begins on a 32-byte boundary in any compute dtype, because matrix instructions need that. The numbers
// between two parameters stay zero.
int64_t padded(int64_t count) { return (count + 15) / 16 * 16; }

}  // namespace

void Params::allocate(Device device, DType compute, uint64_t seed, bool frozen) {
  COSS_ASSERT(!allocated_);
  allocated_ = true;
  device_ = device;
  compute_ = compute;
  seed_ = seed;
  const DType wide = accumulator_of(compute);

  std::set<std::string> names;
  int64_t stat_count = 0;
  weights_.offsets = rest_.offsets = {0};
  for (Entry& entry : entries_) {
    COSS_CHECK(names.insert(entry.name).second, "two parameters are named " + entry.name);
    if (entry.role == Role::stat) {
      entry.offset = stat_count;
      stat_count += padded(entry.shape.numel());
    } else {
      std::vector<int64_t>& offsets = entry.role == Role::weight ? weights_.offsets : rest_.offsets;
      entry.offset = offsets.back();
      offsets.push_back(entry.offset + padded(entry.shape.numel()));
    }
  }

  for (FlatRange* range : {&weights_, &rest_}) {
    const Shape shape{range->offsets.back()};
    range->value = range->compute = Tensor(shape, wide, device);
    kernels(device).fill(context(device), 0, range->value);
    if (frozen) continue;
    range->grad = Tensor(shape, wide, device);
    kernels(device).fill(context(device), 0, range->grad);
  }
  if (compute != wide) weights_.compute = Tensor(weights_.value.shape(), compute, device);
  stats_ = Tensor({stat_count}, wide, device);
  kernels(device).fill(context(device), 0, stats_);

  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    Tensor value = master(entry);
    initialize(entry.init, seed, i, value);
    if (entry.stat) *entry.stat = value;
    if (entry.master) *entry.master = value;
    if (!entry.var) continue;
    FlatRange& range = entry.role == Role::weight ? weights_ : rest_;
    entry.var->value = range.compute.view(entry.offset, entry.shape);
    if (!frozen) entry.var->grad = std::make_shared<Grad>(Grad{range.grad.view(entry.offset, entry.shape), true});
  }
  refresh_compute();
}

int64_t Params::count() const {
  int64_t total = 0;
  for (const Entry& entry : entries_)
    if (entry.role != Role::stat) total += entry.shape.numel();
  return total;
}

Tensor Params::master(const Entry& entry) const {
  const Tensor& range = entry.role == Role::stat ? stats_ : (entry.role == Role::weight ? weights_.value : rest_.value);
  return range.view(entry.offset, entry.shape);
}

void Params::renew_versions() {
  for (Tensor* tensor : {&weights_.value, &weights_.compute, &rest_.value, &stats_}) tensor->mutable_raw();
}

void Params::refresh_compute() {
  if (weights_.compute.dtype() != weights_.value.dtype())
    kernels(device_).cast(context(device_), weights_.value, weights_.compute);
}

}  // namespace coss
