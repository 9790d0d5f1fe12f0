// Decoding: from the bytes of an image file to packed 8-bit RGB of the requested region.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace coss {

using ChooseRegion = std::function<Region(int32_t height, int32_t width)>;

// An encoded image, and its name for errors.
struct EncodedImage {
  const std::string& name;
  const std::vector<uint8_t>& bytes;
};

// Larger pictures are refused before anything is allocated for them: 2^27 pixels are 400 MB decoded.
constexpr int64_t kMostPixels = int64_t(1) << 27;

// The format is recognized by the first bytes: JPEG, PNG, BMP, PGM or PPM. Appends the region's pixels as Dataset::read
// does and throws BrokenImage, after which `pixels` is as it was.
Region decode_image(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels);

// One decoder per format. After a failure the bytes that were already appended stay.
Region decode_jpeg(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels);
Region decode_pnm(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels);

// Throws BrokenImage for a size that is empty or beyond kMostPixels.
void check_image_size(const std::string& name, int64_t height, int64_t width);
// The region that `choose` picks. An empty region, or one that is not inside the image, is a bug of the caller.
Region chosen_region(const ChooseRegion& choose, int64_t height, int64_t width);
// Appends room for the region and returns where it begins.
uint8_t* grow(std::vector<uint8_t>& pixels, const Region& region);

}  // namespace coss
