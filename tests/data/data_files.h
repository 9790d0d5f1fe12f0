// Files that the data tests make: JPEG in several color spaces, and bytes as they are.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>
// After <cstdio>, which it needs.
#include <jpeglib.h>

#include "data/decode.h"

namespace coss::test {

inline void write_file(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
}
inline void write_text(const std::string& path, const std::string& text) {
  write_file(path, std::vector<uint8_t>(text.begin(), text.end()));
}
inline std::vector<uint8_t> read_bytes(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

struct JpegKind {
  int channels = 3;  // 1 gray, 3 RGB, 4 CMYK
  int sampling_h = 2, sampling_v = 2;
  bool progressive = false;
  int quality = 90;
};

// A smooth colorful picture; `seed` moves it.
inline std::vector<uint8_t> jpeg_picture(int width, int height, int seed = 0, const JpegKind& kind = {}) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = JDIMENSION(width);
  info.image_height = JDIMENSION(height);
  info.input_components = kind.channels;
  info.in_color_space = kind.channels == 1 ? JCS_GRAYSCALE : kind.channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, kind.quality, TRUE);
  if (kind.channels == 3) {
    info.comp_info[0].h_samp_factor = kind.sampling_h;
    info.comp_info[0].v_samp_factor = kind.sampling_v;
  }
  if (kind.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  std::vector<uint8_t> row(size_t(width * kind.channels));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < kind.channels; ++c) {
        const int wave = (x * (c + 2) + y * (5 - c) + seed * 37 + (x * y >> 4)) % 510;
        row[size_t(x * kind.channels + c)] = uint8_t(wave < 256 ? wave : 510 - wave);
      }
    }
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&info, &pointer, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::vector<uint8_t> bytes(memory, memory + size);
  std::free(memory);
  return bytes;
}

struct Decoded {
  Region region;
  int32_t height = 0, width = 0;  // of the whole image
  std::vector<uint8_t> pixels;
};

// Decodes `wanted`, or everything when it is empty.
inline Decoded decode(const std::vector<uint8_t>& bytes, Region wanted = {}, const std::string& name = "test.jpg") {
  Decoded d;
  d.region = decode_image(
      {name, bytes},
      [&](int32_t height, int32_t width) {
        d.height = height;
        d.width = width;
        return wanted.h > 0 ? wanted : Region{0, 0, height, width};
      },
      d.pixels);
  return d;
}

// The region of a whole image.
inline std::vector<uint8_t> cut(const Decoded& whole, const Region& region) {
  std::vector<uint8_t> pixels;
  for (int32_t y = region.y; y < region.y + region.h; ++y) {
    const auto start = whole.pixels.begin() + (int64_t(y) * whole.width + region.x) * 3;
    pixels.insert(pixels.end(), start, start + region.w * 3);
  }
  return pixels;
}

}  // namespace coss::test
