// Chooses the decoder of a file, and decodes PNG and BMP through stb_image.
#include "data/decode.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#include <stb/stb_image.h>

namespace coss {

namespace {

uint32_t little_endian(const std::vector<uint8_t>& bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) value |= uint32_t(bytes.at(at + i)) << (8 * i);
  return value;
}

uint32_t big_endian(const std::vector<uint8_t>& bytes, size_t at) {
  return uint32_t(bytes.at(at)) << 24 | uint32_t(bytes.at(at + 1)) << 16 | uint32_t(bytes.at(at + 2)) << 8 |
         uint32_t(bytes.at(at + 3));
}

// stb_image reads zeros after the end of a BMP file. So the file's length is compared with what its header promises.
bool bmp_is_complete(const std::vector<uint8_t>& bytes) {
  constexpr size_t kHeaders = 54;
  if (bytes.size() < kHeaders) return false;
  const bool old = little_endian(bytes, 14, 4) == 12;  // OS/2: 16-bit sizes
  const int64_t width = old ? little_endian(bytes, 18, 2) : int32_t(little_endian(bytes, 18, 4));
  const int64_t height = old ? little_endian(bytes, 20, 2) : int32_t(little_endian(bytes, 22, 4));
  const int64_t bits = little_endian(bytes, old ? 24 : 28, 2);
  constexpr int64_t kMostBits = 32;
  if (width <= 0 || width > kMostPixels || std::abs(height) > kMostPixels || bits > kMostBits) return false;
  const int64_t row = (width * bits + 31) / 32 * 4;
  return int64_t(bytes.size()) >= int64_t(little_endian(bytes, 10, 4)) + row * std::abs(height);
}

// stb_image allocates what a chunk's length and the header's size ask for before it reads the bytes. So both are
// compared with the bytes that are there. Deflate packs at most 1032 bytes into one.
bool png_is_complete(const std::vector<uint8_t>& bytes) {
  constexpr size_t kSignature = 8, kHeader = 33, kAround = 12;  // length, type and checksum of a chunk
  constexpr int64_t kMostPacked = 1032, kChannels[] = {1, 0, 3, 1, 2, 0, 4};
  if (bytes.size() < kHeader) return false;
  int64_t packed = 0;
  for (size_t at = kSignature; bytes.size() - at >= kAround;) {
    const size_t length = big_endian(bytes, at), left = bytes.size() - at - kAround;
    if (length > left) return false;
    if (std::memcmp(bytes.data() + at + 4, "IDAT", 4) == 0) packed += int64_t(length);
    if (std::memcmp(bytes.data() + at + 4, "IEND", 4) == 0) break;
    at += kAround + length;
  }
  const int64_t width = big_endian(bytes, 16), height = big_endian(bytes, 20);
  if (width == 0 || height > kMostPixels / width) return true;  // refused by its size
  const int64_t channels = bytes[25] < std::size(kChannels) ? kChannels[bytes[25]] : 0;
  const int64_t raw = height * (1 + (width * bytes[24] * channels + 7) / 8);
  return raw <= (packed + 1) * kMostPacked;
}

Region decode_with_stb(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels) {
  const auto* bytes = image.bytes.data();
  const int size = int(image.bytes.size());
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(bytes, size, &width, &height, &channels)) {
    throw BrokenImage(image.name + ": " + stbi_failure_reason());
  }
  check_image_size(image.name, height, width);
  constexpr int64_t kSampleBytes = 2;  // 16 bits; the decoder needs as much again during the conversion
  check_image_memory(image.name, int64_t(height) * width * (std::max(channels, 3) * kSampleBytes));
  const Region region = chosen_region(choose, height, width);
  const std::unique_ptr<stbi_uc, void (*)(void*)> decoded(
      stbi_load_from_memory(bytes, size, &width, &height, &channels, 3), stbi_image_free);
  if (!decoded) throw BrokenImage(image.name + ": " + stbi_failure_reason());
  copy_region({decoded.get(), int64_t(width) * 3, 3}, region, pixels);
  return region;
}

enum class Format : uint8_t { none, jpeg, png, webp, tiff, gif, bmp, pnm, avif, heif };

Format format_of(const uint8_t* bytes, size_t count) {
  const auto at = [&](size_t place, const char* magic, size_t length) {
    return count >= place + length && std::memcmp(bytes + place, magic, length) == 0;
  };
  if (at(0, "\xff\xd8\xff", 3)) return Format::jpeg;
  if (at(0, "\x89PNG\r\n\x1a\n", 8)) return Format::png;
  if (at(0, "RIFF", 4) && at(8, "WEBP", 4)) return Format::webp;
  if (at(0, "II*\0", 4) || at(0, "MM\0*", 4) || at(0, "II+\0", 4) || at(0, "MM\0+", 4)) return Format::tiff;
  if (at(0, "GIF87a", 6) || at(0, "GIF89a", 6)) return Format::gif;
  if (at(0, "P5", 2) || at(0, "P6", 2)) return Format::pnm;
  if (at(0, "BM", 2)) return Format::bmp;
  if (!at(4, "ftyp", 4)) return Format::none;
  if (at(8, "avif", 4) || at(8, "avis", 4)) return Format::avif;
  for (const char* brand : {"heic", "heix", "hevc", "heim", "heis", "mif1", "msf1"})
    if (at(8, brand, 4)) return Format::heif;
  return Format::none;
}

Region decode_known(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels) {
  const std::vector<uint8_t>& bytes = image.bytes;
  switch (format_of(bytes.data(), bytes.size())) {
    case Format::jpeg:
      return decode_jpeg(image, choose, pixels);
    case Format::webp:
      return decode_webp(image, choose, pixels);
    case Format::tiff:
      return decode_tiff(image, choose, pixels);
    case Format::gif:
      return decode_gif(image, choose, pixels);
    case Format::pnm:
      return decode_pnm(image, choose, pixels);
    case Format::avif:
      return decode_avif(image, choose, pixels);
    case Format::heif:
      return decode_heif(image, choose, pixels);
    case Format::png:
      if (!png_is_complete(bytes)) throw BrokenImage(image.name + ": the PNG file is damaged or cut short");
      return decode_with_stb(image, choose, pixels);
    case Format::bmp:
      if (!bmp_is_complete(bytes)) throw BrokenImage(image.name + ": the BMP file is damaged or cut short");
      return decode_with_stb(image, choose, pixels);
    case Format::none:
      break;
  }
  throw BrokenImage(image.name + (bytes.empty()
                                      ? ": the file is empty"
                                      : ": not a JPEG, PNG, WebP, TIFF, GIF, BMP, PGM, PPM, AVIF or HEIC image"));
}

}  // namespace

Region decode_image(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels) {
  const size_t before = pixels.size();
  try {
    return decode_known(image, choose, pixels);
  } catch (...) {
    pixels.resize(before);
    throw;
  }
}

void check_image_size(const std::string& name, int64_t height, int64_t width) {
  if (height <= 0 || width <= 0) throw BrokenImage(name + ": the image has no pixels");
  if (height > kMostPixels / width) {
    throw BrokenImage(name + ": " + std::to_string(width) + " x " + std::to_string(height) +
                      " pixels are more than the 2^27 that are read");
  }
}

void check_image_memory(const std::string& name, int64_t bytes) {
  if (bytes > kMostDecodingBytes)
    throw BrokenImage(name + ": decoding it takes more than " + std::to_string(kMostDecodingBytes >> 20) +
                      " MiB of memory: make it smaller, or save it as a plain JPEG");
}

Region chosen_region(const ChooseRegion& choose, int64_t height, int64_t width) {
  const Region region = choose(int32_t(height), int32_t(width));
  COSS_ASSERT(region.h > 0 && region.w > 0 && region.y >= 0 && region.x >= 0);
  COSS_ASSERT(region.h <= height - region.y && region.w <= width - region.x);
  return region;
}

void copy_region(const Picture& picture, const Region& region, std::vector<uint8_t>& pixels) {
  uint8_t* out = grow(pixels, region);
  for (int64_t y = 0; y < region.h; ++y) {
    const uint8_t* from = picture.bytes + (region.y + y) * picture.stride + int64_t(region.x) * picture.channels;
    if (picture.channels == 3) {
      std::memcpy(out, from, size_t(region.w) * 3);
      out += region.w * 3;
      continue;
    }
    for (int64_t x = 0; x < region.w; ++x, from += picture.channels, out += 3) std::memcpy(out, from, 3);
  }
}

bool looks_like_image(const uint8_t* bytes, size_t count) { return format_of(bytes, count) != Format::none; }

uint8_t* grow(std::vector<uint8_t>& pixels, const Region& region) {
  const size_t before = pixels.size();
  pixels.resize(before + size_t(region.h) * size_t(region.w) * 3);
  return pixels.data() + before;
}

}  // namespace coss
