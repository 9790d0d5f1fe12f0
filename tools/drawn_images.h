// Drawn images: textured shapes on a busy background, as JPEG files in class folders. They stand in for a data set
// where there is none: the quick start and tests decode, augment, mine and train on them as on photographs.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace coss {

struct DrawOptions {
  int classes = 10;
  int per_class = 120, test_per_class = 30;
  int size = 64;  // pixels
  uint64_t seed = 0;
};

constexpr int kMostDrawnClasses = 100;

// The name of a class, such as "star_dots": a class is a pair of shape and texture.
std::string drawn_class_name(int label);
// Draws one image, u8 RGB (size,size,3). It depends on nothing but the arguments.
std::vector<uint8_t> draw_image(int label, int size, uint64_t seed, uint64_t index);
// Encodes u8 RGB (size,size,3) as a JPEG file.
std::vector<uint8_t> encode_jpeg(const std::vector<uint8_t>& pixels, int size, int quality);

// Writes train/<class>/*.jpg and val/<class>/*.jpg under `out`, which is made aside and renamed. Throws Error if `out`
// exists and is no empty folder; `force` replaces a folder that holds drawn images and nothing else.
void draw_folder(const DrawOptions& options, const std::string& out, bool force = false);

}  // namespace coss
