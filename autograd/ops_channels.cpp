// Operations on channels: weighting (squeeze and excitation), cutting, joining and shuffling them.
#include "autograd/graph.h"
#include "autograd/ops.h"

namespace coss {
namespace {

void check_rows(const std::string& op, const Var& x) {
  COSS_CHECK(x.shape().rank >= 2, "[" + op + "] input " + x.shape().str() + " has no channels behind its rows");
}

Shape with_channels(Shape shape, int64_t channels) {
  shape.dims[size_t(shape.rank - 1)] = channels;
  return shape;
}

void copy(const ColumnMap& map, const Tensor& from, Tensor& to) {
  if (map.count > 0) kernels(from).copy_columns(context(from.device()), map, from, to);
}

}  // namespace

Var scale_channels(const Var& x, const Var& s) {
  COSS_CHECK(x.shape().rank == 4, "[scale_channels] input " + x.shape().str() + " is not (N,H,W,C)");
  COSS_CHECK((s.shape() == Shape{x.shape()[0], x.shape()[3]}) && s.value.dtype() == x.value.dtype(),
             std::string("[scale_channels] the factors, ") + name_of(s.value.dtype()) + " " + s.shape().str() +
                 ", do not fit the input, " + name_of(x.value.dtype()) + " " + x.shape().str());
  Context& ctx = context(x.value.device());
  Var y = make_output(Tensor(x.shape(), x.value.dtype(), ctx.device()), {&x, &s});
  kernels(x.value).scale_channels_forward(ctx, x.value, s.value, y.value);
  note(node::ScaleChannels{}, {x.value, s.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [x, s](const Tensor& dy) {
      Tensor dx(dy.shape(), dy.dtype(), dy.device()), ds(s.shape(), dy.dtype(), dy.device());
      kernels(dy).scale_channels_backward(context(dy.device()), x.value, s.value, dy, dx, ds);
      accumulate(x, dx);
      accumulate(s, ds);
    });
  return y;
}

Var slice_channels(const Var& x, int64_t first, int64_t count) {
  check_rows("slice_channels", x);
  const int64_t channels = x.shape().back();
  COSS_CHECK(first >= 0 && count > 0 && first + count <= channels,
             "[slice_channels] " + std::to_string(count) + " channels from " + std::to_string(first) +
                 " on are not all among the " + std::to_string(channels) + " of the input");
  if (count == channels) return x;
  Context& ctx = context(x.value.device());
  Var y = make_output(Tensor(with_channels(x.shape(), count), x.value.dtype(), ctx.device()), {&x});
  copy({.from = first, .count = count}, x.value, y.value);
  note(node::SliceChannels{first}, {x.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [x = grad_only(x), x_shape = x.shape(), first, count](const Tensor& dy) {
      Tensor dx(x_shape, dy.dtype(), dy.device());
      kernels(dx).fill(context(dx.device()), 0, dx);
      copy({.to = first, .count = count}, dy, dx);
      accumulate(x, dx);
    });
  return y;
}

Var concat_channels(const std::vector<Var>& parts) {
  COSS_CHECK(!parts.empty(), "[concat_channels] there is nothing to join");
  const Var& front = parts.front();
  check_rows("concat_channels", front);
  int64_t channels = 0;
  bool wanted = false;
  for (const Var& part : parts) {
    const bool fits = part.shape().rank == front.shape().rank && part.value.dtype() == front.value.dtype() &&
                      with_channels(part.shape(), 1) == with_channels(front.shape(), 1);
    COSS_CHECK(fits, "[concat_channels] " + part.shape().str() + " differs from " + front.shape().str() +
                         " in more than its channels");
    channels += part.shape().back();
    wanted = wanted || part.grad;
  }
  Tensor joined(with_channels(front.shape(), channels), front.value.dtype(), front.value.device());
  int64_t first = 0;
  std::vector<Tensor> values;
  for (const Var& part : parts) {
    const int64_t count = part.shape().back();
    copy({.to = first, .count = count}, part.value, joined);
    first += count;
    values.push_back(part.value);
  }
  note(node::ConcatChannels{}, std::move(values), joined);
  if (!wanted || !Tape::active()) return Var(joined);
  struct Part {
    Var var;
    Shape shape;
  };
  std::vector<Part> places;
  for (const Var& part : parts) places.push_back({grad_only(part), part.shape()});
  Var y(joined, std::make_shared<Grad>());
  Tape::active()->record(y, [places](const Tensor& dy) {
    int64_t from = 0;
    for (const auto& [var, shape] : places) {
      if (var.grad) {
        Tensor dx(shape, dy.dtype(), dy.device());
        copy({.from = from, .count = shape.back()}, dy, dx);
        accumulate(var, dx);
      }
      from += shape.back();
    }
  });
  return y;
}

Var shuffle_channels(const Var& x, int64_t groups) {
  check_rows("shuffle_channels", x);
  const int64_t channels = x.shape().back();
  COSS_CHECK(groups >= 1 && channels % groups == 0, "[shuffle_channels] " + std::to_string(channels) +
                                                        " channels do not divide into " + std::to_string(groups) +
                                                        " groups");
  // Shuffling by the number of channels in a group undoes shuffling by the number of groups.
  auto shuffled = [](const Tensor& from, int64_t by) {
    Tensor to(from.shape(), from.dtype(), from.device());
    const int64_t count = from.shape().back() / by;
    // The way with fewer copies: whole groups to every by-th column, or every count-th column to neighboring columns.
    for (int64_t g = 0; g < std::min(by, count); ++g) {
      if (by <= count)
        copy({.from = g * count, .to = g, .to_stride = by, .count = count}, from, to);
      else
        copy({.from = g, .from_stride = count, .to = g * by, .count = by}, from, to);
    }
    return to;
  };
  Var y = make_output(shuffled(x.value, groups), {&x});
  note(node::ShuffleChannels{groups}, {x.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [shuffled, x = grad_only(x), inverse = channels / groups](const Tensor& dy) {
      accumulate(x, shuffled(dy, inverse));
    });
  return y;
}

}  // namespace coss
