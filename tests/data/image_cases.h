// Goldens of images as make_image_goldens.py writes them: parameters of the image kernel and expected pixels.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "engine/kernels.h"
#include "formats/tensor_file.h"

namespace coss::test {

struct Pixels {
  int64_t h = 0, w = 0;
  std::vector<uint8_t> bytes;  // (h,w,3)
};

inline std::vector<uint8_t> golden_bytes(const TensorFile& file, const std::string& name) {
  const FileTensor* tensor = file.find(name);
  COSS_CHECK(tensor, file.path() + " has no " + name + ": make the goldens again");
  return file.read_bytes(*tensor);
}

template <class T>
std::vector<T> golden_values(const TensorFile& file, const std::string& name) {
  const std::vector<uint8_t> bytes = golden_bytes(file, name);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

inline Pixels golden_pixels(const TensorFile& file, const std::string& name) {
  Pixels pixels{0, 0, golden_bytes(file, name)};
  pixels.h = file.find(name)->shape.at(0);
  pixels.w = file.find(name)->shape.at(1);
  return pixels;
}

// The names N of all tensors "N.suffix".
inline std::vector<std::string> golden_names(const TensorFile& file, const std::string& suffix) {
  std::vector<std::string> names;
  for (const FileTensor& tensor : file.tensors()) {
    const size_t dot = tensor.name.rfind('.');
    if (dot != std::string::npos && tensor.name.substr(dot + 1) == suffix) names.push_back(tensor.name.substr(0, dot));
  }
  return names;
}

inline ImageParams golden_params(const TensorFile& file, const std::string& name) {
  const auto ints = golden_values<int32_t>(file, name + ".ints");
  const auto floats = golden_values<float>(file, name + ".floats");
  ImageParams p;
  p.source_h = ints.at(0);
  p.source_w = ints.at(1);
  p.resize_h = ints.at(2);
  p.resize_w = ints.at(3);
  p.window_y = ints.at(4);
  p.window_x = ints.at(5);
  p.bicubic = uint8_t(ints.at(6));
  p.flip = uint8_t(ints.at(7));
  p.jitter = uint8_t(ints.at(8));
  for (size_t i = 0; i < 4; ++i) p.order[i] = uint8_t(ints.at(9 + i));
  p.gray = uint8_t(ints.at(13));
  p.blur_window = ints.at(14);
  p.solarize = uint8_t(ints.at(15));
  p.brightness = floats.at(0);
  p.contrast = floats.at(1);
  p.saturation = floats.at(2);
  p.hue = floats.at(3);
  p.blur_sigma = floats.at(4);
  return p;
}

// Runs the kernel on one source image without normalization and gives back its bytes.
inline Pixels augmented(const ImageParams& params, const std::vector<uint8_t>& source, int64_t h, int64_t w) {
  const std::vector<uint8_t> words(reinterpret_cast<const uint8_t*>(&params),
                                   reinterpret_cast<const uint8_t*>(&params) + sizeof(params));
  const Tensor p = Tensor::from(words, {int64_t(words.size())}, Device::cpu);
  const Tensor pixels = Tensor::from(source, {int64_t(source.size())}, Device::cpu);
  Tensor y({1, h, w, 3}, DType::f32, Device::cpu);
  kernels(Device::cpu).augment_images(context(Device::cpu), {{0, 0, 0}, {1, 1, 1}}, p, pixels, y);
  Pixels result{h, w, {}};
  for (const float value : y.to_vector<float>()) result.bytes.push_back(uint8_t(value * 255 + 0.5f));
  return result;
}

// The largest difference of two pictures in gray levels, and the share of bytes that differ.
struct Difference {
  int largest = 0;
  double share = 0;
};
inline Difference difference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  COSS_CHECK(a.size() == b.size(), "pictures of different sizes");
  Difference d;
  for (size_t i = 0; i < a.size(); ++i) {
    d.largest = std::max(d.largest, std::abs(int(a[i]) - int(b[i])));
    d.share += a[i] != b[i] ? 1.0 / double(a.size()) : 0;
  }
  return d;
}

}  // namespace coss::test
