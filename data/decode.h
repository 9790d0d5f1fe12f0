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

// How much memory decoding may take besides the requested pixels; each worker decodes one image at a time.
constexpr int64_t kMostDecodingBytes = int64_t(1) << 29;

// The format is recognized by the first bytes, not by the file name: JPEG, PNG, WebP, TIFF, GIF, BMP, PGM, PPM,
// and AVIF and HEIC if the build has their libraries. Appends the region's pixels as Dataset::read does and throws
// BrokenImage, after which `pixels` is as it was. Of several pages or frames the first is read.
Region decode_image(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels);

// One decoder per format. After a failure the bytes that were already appended stay.
Region decode_jpeg(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels);
Region decode_pnm(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels);
Region decode_webp(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels);
Region decode_tiff(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels);
Region decode_gif(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels);
// These throw BrokenImage with the reason if the build does not have the library.
Region decode_avif(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels);
Region decode_heif(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels);

// Whether the first bytes of a file (16 are enough) begin an image of one of these formats.
bool looks_like_image(const uint8_t* bytes, size_t count);

// Throws BrokenImage for a size that is empty or beyond kMostPixels.
void check_image_size(const std::string& name, int64_t height, int64_t width);
// Throws BrokenImage when decoding takes more than kMostDecodingBytes.
void check_image_memory(const std::string& name, int64_t bytes);
// The region that `choose` picks. An empty region, or one that is not inside the image, is a bug of the caller.
Region chosen_region(const ChooseRegion& choose, int64_t height, int64_t width);
// Appends room for the region and returns where it begins.
uint8_t* grow(std::vector<uint8_t>& pixels, const Region& region);
// A decoded picture: the bytes of a row, and 3 or 4 channels, of which the first three are RGB.
struct Picture {
  const uint8_t* bytes;
  int64_t stride;
  int channels;
};
// Appends a region of the picture.
void copy_region(const Picture& picture, const Region& region, std::vector<uint8_t>& pixels);
// The steps of a decoder that makes the whole picture: `reader` has height(), width() and pixels(), which are packed
// RGB; it needs `bytes` of memory for each pixel.
template <class Reader>
Region decode_whole(const EncodedImage& image, Reader& reader, int64_t bytes, const ChooseRegion& choose,
                    std::vector<uint8_t>& pixels) {
  check_image_size(image.name, reader.height(), reader.width());
  check_image_memory(image.name, reader.height() * reader.width() * bytes);
  const Region region = chosen_region(choose, reader.height(), reader.width());
  const std::vector<uint8_t> rgb = reader.pixels();
  copy_region({rgb.data(), reader.width() * 3, 3}, region, pixels);
  return region;
}

// One channel of CMYK as RGB, as Pillow computes it: `ink` printed on a white that black has darkened to `white`.
inline uint8_t ink_on_white(int32_t ink, int32_t white) {
  const int32_t product = ink * white + 128;
  return uint8_t(white - (((product >> 8) + product) >> 8));
}

}  // namespace coss
