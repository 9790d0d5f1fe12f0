// Elementwise kernels of the reference backend. fill and cast also know the other types, so that tests can convert.
#include "engine/philox.h"
#include "tests/reference/access.h"

namespace coss::reference {

namespace {

// Calls use(pointer) with the element pointer of the tensor's type.
template <class Use>
void with_pointer(Tensor& tensor, Use use) {
  switch (tensor.dtype()) {
    case DType::f32:
      return use(tensor.mutable_data<float>());
    case DType::bf16:
      return use(tensor.mutable_data<bf16>());
    case DType::f16:
      return use(tensor.mutable_data<f16>());
    case DType::f64:
      return use(tensor.mutable_data<double>());
    case DType::i32:
      return use(tensor.mutable_data<int32_t>());
    case DType::i64:
      return use(tensor.mutable_data<int64_t>());
    case DType::u8:
      return use(tensor.mutable_data<uint8_t>());
  }
}

template <class T>
void assign(T& element, double value) {
  if constexpr (sizeof(T) == 2)
    element = T(float(value));  // the 16-bit types convert from float
  else
    element = static_cast<T>(value);
}

// Whether draw i of a step drops.
bool dropped(const DropoutParams& p, int64_t step, int64_t i) {
  const PhiloxWords words = dropout_words(p.seed, p.layer, step, i / 4);
  return philox_uniform(words.word[i % 4]) < p.rate;
}

}  // namespace

void fill(Context&, double value, Tensor& y) {
  with_pointer(y, [&](auto* elements) {
    for (int64_t i = 0; i < y.numel(); ++i) assign(elements[i], value);
  });
}

void cast(Context&, const Tensor& x, Tensor& y) {
  const std::vector<double> values = x.to_doubles();
  with_pointer(y, [&](auto* elements) {
    for (int64_t i = 0; i < y.numel(); ++i) assign(elements[i], values[size_t(i)]);
  });
}

void add(Context&, const Tensor& a, const Tensor& b, Tensor& y) {
  for (int64_t i = 0; i < y.numel(); ++i) out(y)[i] = in(a)[i] + in(b)[i];
}

void axpy(Context&, float a, const Tensor& x, Tensor& y) {
  for (int64_t i = 0; i < y.numel(); ++i) out(y)[i] += double(a) * in(x)[i];
}

void scale(Context&, const Tensor& s, Tensor& y) {
  for (int64_t i = 0; i < y.numel(); ++i) out(y)[i] *= in(s)[0];
}

void activation_forward(Context&, Activation kind, const Tensor& x, Tensor& y) {
  for (int64_t i = 0; i < y.numel(); ++i) out(y)[i] = activate(kind, in(x)[i]);
}

void activation_backward(Context&, Activation kind, const Tensor& x, const Tensor& dy, Tensor& dx) {
  for (int64_t i = 0; i < x.numel(); ++i) out(dx)[i] = in(dy)[i] * slope(kind, in(x)[i]);
}

void dropout_forward(Context&, const DropoutParams& p, const Tensor& step, const Tensor& x, Tensor& y) {
  const int64_t now = step.data<int64_t>()[0];
  for (int64_t i = 0; i < y.numel(); ++i)
    out(y)[i] = dropped(p, now, i / p.group) ? 0 : in(x)[i] / (1 - double(p.rate));
}

void dropout_backward(Context& context, const DropoutParams& p, const Tensor& step, const Tensor& dy, Tensor& dx) {
  dropout_forward(context, p, step, dy, dx);
}

}  // namespace coss::reference
