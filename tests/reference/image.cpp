// Augmentation of the reference backend: one function per operation on a whole image in double, values in [0, 255].
// Nothing is rounded to 8 bits between operations.
#include <cstring>
#include <functional>

#include "tests/reference/access.h"

namespace coss::reference {

namespace {

struct Image {
  Image(int64_t rows, int64_t columns) : h(rows), w(columns), values(size_t(rows * columns * 3)) {}
  double& at(int64_t y, int64_t x, int64_t c) { return values[size_t((y * w + x) * 3 + c)]; }
  double at(int64_t y, int64_t x, int64_t c) const { return values[size_t((y * w + x) * 3 + c)]; }

  int64_t h, w;
  std::vector<double> values;
};

double clip(double value) { return std::clamp(value, 0.0, 255.0); }

double filter_weight(bool bicubic, double x) {
  x = std::abs(x);
  if (!bicubic) return std::max(0.0, 1 - x);
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// The taps of one output position: the filter grows with the reduction in size, is cut at the border and renormalized.
struct Taps {
  int64_t first = 0;
  std::vector<double> weights;
};

Taps taps_of(int64_t position, int64_t in_size, int64_t out_size, bool bicubic) {
  const double ratio = double(in_size) / double(out_size), stretch = std::max(ratio, 1.0);
  const double reach = (bicubic ? 2 : 1) * stretch, center = (double(position) + 0.5) * ratio;
  Taps taps;
  taps.first = std::max<int64_t>(0, int64_t(center - reach + 0.5));
  const int64_t end = std::min(in_size, int64_t(center + reach + 0.5));
  double sum = 0;
  for (int64_t i = taps.first; i < end; ++i) {
    taps.weights.push_back(filter_weight(bicubic, (double(i) - center + 0.5) / stretch));
    sum += taps.weights.back();
  }
  for (double& weight : taps.weights) weight /= sum;
  return taps;
}

Image resize_width(const Image& image, int64_t width, bool bicubic) {
  Image result(image.h, width);
  for (int64_t x = 0; x < width; ++x) {
    const Taps taps = taps_of(x, image.w, width, bicubic);
    for (int64_t y = 0; y < image.h; ++y) {
      for (int64_t c = 0; c < 3; ++c) {
        double sum = 0;
        for (size_t i = 0; i < taps.weights.size(); ++i)
          sum += taps.weights[i] * image.at(y, taps.first + int64_t(i), c);
        result.at(y, x, c) = clip(sum);
      }
    }
  }
  return result;
}

Image transposed(const Image& image) {
  Image result(image.w, image.h);
  for (int64_t y = 0; y < image.h; ++y) {
    for (int64_t x = 0; x < image.w; ++x) {
      for (int64_t c = 0; c < 3; ++c) result.at(x, y, c) = image.at(y, x, c);
    }
  }
  return result;
}

Image window_of(const Image& image, int64_t top, int64_t left, int64_t h, int64_t w) {
  Image result(h, w);
  for (int64_t y = 0; y < h; ++y) {
    for (int64_t x = 0; x < w; ++x) {
      const bool inside = y + top >= 0 && y + top < image.h && x + left >= 0 && x + left < image.w;
      for (int64_t c = 0; c < 3; ++c) result.at(y, x, c) = inside ? image.at(y + top, x + left, c) : 0;
    }
  }
  return result;
}

// Applies change(red, green, blue) to every pixel.
void each_pixel(Image& image, const std::function<void(double&, double&, double&)>& change) {
  for (size_t i = 0; i < image.values.size(); i += 3) {
    change(image.values[i], image.values[i + 1], image.values[i + 2]);
  }
}

double luma(double r, double g, double b) { return 0.299 * r + 0.587 * g + 0.114 * b; }

void make_gray(Image& image) {
  each_pixel(image, [](double& r, double& g, double& b) { r = g = b = luma(r, g, b); });
}

void change_brightness(Image& image, double factor) {
  for (double& value : image.values) value = clip(value * factor);
}

void change_contrast(Image& image, double factor) {
  double mean = 0;
  each_pixel(image, [&](double& r, double& g, double& b) { mean += luma(r, g, b); });
  mean /= double(image.h * image.w);
  for (double& value : image.values) value = clip(factor * value + (1 - factor) * mean);
}

void change_saturation(Image& image, double factor) {
  each_pixel(image, [&](double& r, double& g, double& b) {
    const double gray = luma(r, g, b);
    for (double* value : {&r, &g, &b}) *value = clip(factor * *value + (1 - factor) * gray);
  });
}

// Turns the hue by `shift` of a full circle; saturation and value stay.
void change_hue(Image& image, double shift) {
  each_pixel(image, [&](double& r, double& g, double& b) {
    const double greatest = std::max({r, g, b}), range = greatest - std::min({r, g, b});
    if (range == 0) return;
    double sixths;
    if (greatest == r)
      sixths = (g - b) / range;
    else if (greatest == g)
      sixths = 2 + (b - r) / range;
    else
      sixths = 4 + (r - g) / range;
    sixths += 6 * shift;
    // A channel falls from the greatest value to the least over the sixth that begins two sixths after its peak.
    auto channel = [&](double peak) {
      const double circle = std::fmod(sixths - peak + 24, 6.0), distance = std::min(circle, 6 - circle);
      return greatest - range * std::clamp(distance - 1, 0.0, 1.0);
    };
    r = channel(0);
    g = channel(2);
    b = channel(4);
  });
}

void jitter(Image& image, const ImageParams& p) {
  for (uint8_t operation : p.order) {
    if (operation == 0) change_brightness(image, double(p.brightness));
    if (operation == 1) change_contrast(image, double(p.contrast));
    if (operation == 2) change_saturation(image, double(p.saturation));
    if (operation == 3) change_hue(image, double(p.hue));
  }
}

// Mirrors an index at the first and the last element, which are not repeated, until it is inside.
int64_t reflected(int64_t i, int64_t size) {
  if (size == 1) return 0;
  while (i < 0 || i >= size) i = i < 0 ? -i : 2 * (size - 1) - i;
  return i;
}

Image blur_width(const Image& image, const ImageParams& p) {
  const int64_t reach = p.blur_window / 2;
  std::vector<double> taps;
  double sum = 0;
  for (int64_t i = -reach; i <= reach; ++i) {
    taps.push_back(std::exp(-0.5 * std::pow(double(i) / double(p.blur_sigma), 2)));
    sum += taps.back();
  }
  Image result(image.h, image.w);
  for (int64_t y = 0; y < image.h; ++y) {
    for (int64_t x = 0; x < image.w; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        for (int64_t i = -reach; i <= reach; ++i) {
          result.at(y, x, c) += taps[size_t(i + reach)] / sum * image.at(y, reflected(x + i, image.w), c);
        }
      }
    }
  }
  return result;
}

Image augmented(const ImageParams& p, const uint8_t* pixels, int64_t h, int64_t w) {
  Image image(p.source_h, p.source_w);
  for (size_t i = 0; i < image.values.size(); ++i) image.values[i] = double(pixels[size_t(p.offset) + i]);
  image = resize_width(image, p.resize_w, p.bicubic);
  image = transposed(resize_width(transposed(image), p.resize_h, p.bicubic));
  image = window_of(image, p.window_y, p.window_x, h, w);
  if (p.gray == 2) make_gray(image);
  if (p.jitter) jitter(image, p);
  if (p.gray == 1) make_gray(image);
  if (p.blur_sigma > 0) image = transposed(blur_width(transposed(blur_width(image, p)), p));
  if (p.solarize) {
    for (double& value : image.values) value = value < 128 ? value : 255 - value;
  }
  return image;
}

}  // namespace

void augment_images(Context&, const Normalization& n, const Tensor& params, const Tensor& pixels, Tensor& y) {
  const int64_t h = y.shape()[1], w = y.shape()[2];
  for (int64_t i = 0; i < y.shape()[0]; ++i) {
    ImageParams p;
    std::memcpy(&p, params.data<uint8_t>() + size_t(i) * sizeof(p), sizeof(p));
    const Image image = augmented(p, pixels.data<uint8_t>(), h, w);
    for (int64_t row = 0; row < h; ++row) {
      for (int64_t column = 0; column < w; ++column) {
        for (int64_t c = 0; c < 3; ++c) {
          const double value = image.at(row, p.flip ? w - 1 - column : column, c) / 255;
          out(y)[((i * h + row) * w + column) * 3 + c] = (value - double(n.mean[c])) / double(n.stddev[c]);
        }
      }
    }
  }
}

}  // namespace coss::reference
