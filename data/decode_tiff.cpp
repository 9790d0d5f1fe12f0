// The first page of a TIFF through libtiff. Grayscale, RGB and CMYK of 8 or 16 bits are read directly, which gives
// Pillow's pixels (16 bits keep their upper byte); palettes, 1 to 4 bits and YCbCr go through libtiff's own conversion.
#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>

#include "data/decode.h"

namespace coss {

namespace {

// The state of libtiff's callbacks: the bytes, the position in them, and the last error message.
struct TiffSource {
  const std::vector<uint8_t>& bytes;
  uint64_t at = 0;
  char complaint[200] = "it is damaged or cut short";
};

tmsize_t read_tiff(thandle_t handle, void* out, tmsize_t count) {
  auto& source = *static_cast<TiffSource*>(handle);
  const uint64_t left = source.at < source.bytes.size() ? source.bytes.size() - source.at : 0;
  const uint64_t bytes = std::min(uint64_t(count), left);
  if (bytes > 0) std::memcpy(out, source.bytes.data() + source.at, bytes);
  source.at += bytes;
  return tmsize_t(bytes);
}

tmsize_t write_nothing(thandle_t, void*, tmsize_t) { return 0; }

toff_t seek_tiff(thandle_t handle, toff_t offset, int whence) {
  auto& source = *static_cast<TiffSource*>(handle);
  const uint64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? source.at : source.bytes.size();
  return source.at = base + offset;
}

int close_nothing(thandle_t) { return 0; }
toff_t size_of_tiff(thandle_t handle) { return static_cast<TiffSource*>(handle)->bytes.size(); }

__attribute__((format(printf, 3, 0))) void keep_complaint(thandle_t handle, const char*, const char* text,
                                                          va_list values) {
  auto* const source = static_cast<TiffSource*>(handle);
  if (source) std::vsnprintf(source->complaint, sizeof(source->complaint), text, values);
}

struct CloseTiff {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};

class TiffReader {
 public:
  explicit TiffReader(const EncodedImage& image) : image_(image), source_{image.bytes} {
    static std::once_flag quiet;
    std::call_once(quiet, [] {
      TIFFSetErrorHandler(nullptr);
      TIFFSetErrorHandlerExt(keep_complaint);
      TIFFSetWarningHandler(nullptr);
    });
    // "m": without mapping the file.
    tiff_.reset(TIFFClientOpen(image.name.c_str(), "rm", &source_, read_tiff, write_nothing, seek_tiff, close_nothing,
                               size_of_tiff, nullptr, nullptr));
    if (!tiff_) fail();
    uint32_t height = 0, width = 0;
    TIFFGetField(tiff_.get(), TIFFTAG_IMAGELENGTH, &height);
    TIFFGetField(tiff_.get(), TIFFTAG_IMAGEWIDTH, &width);
    height_ = height;
    width_ = width;
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_BITSPERSAMPLE, &bits_);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_SAMPLESPERPIXEL, &samples_);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_SAMPLEFORMAT, &format_);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_PLANARCONFIG, &planes_);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_ORIENTATION, &orientation_);
    TIFFGetField(tiff_.get(), TIFFTAG_PHOTOMETRIC, &photometric_);
  }

  bool is_turned() const { return orientation_ >= ORIENTATION_LEFTTOP; }
  int64_t height() const { return is_turned() ? width_ : height_; }
  int64_t width() const { return is_turned() ? height_ : width_; }

  // (height, width, 3), in the orientation in which the picture is shown.
  std::vector<uint8_t> pixels() {
    if (format_ != SAMPLEFORMAT_UINT && format_ != SAMPLEFORMAT_VOID)
      throw BrokenImage(image_.name + ": the TIFF file has numbers that are no whole ones from 0; give 8 or 16 bits");
    return oriented(is_plain() ? plain() : converted());
  }

 private:
  [[noreturn]] void fail() const {
    throw BrokenImage(image_.name + ": not a TIFF image that can be read: " + source_.complaint);
  }

  bool is_plain() const {
    if ((bits_ != 8 && bits_ != 16) || planes_ != PLANARCONFIG_CONTIG) return false;
    if (photometric_ == PHOTOMETRIC_RGB) return samples_ >= 3;
    if (photometric_ == PHOTOMETRIC_SEPARATED) return samples_ >= 4;
    return photometric_ == PHOTOMETRIC_MINISBLACK || photometric_ == PHOTOMETRIC_MINISWHITE;
  }

  std::vector<uint8_t> plain() {
    std::vector<uint8_t> rgb(size_t(height_ * width_ * 3));
    if (TIFFIsTiled(tiff_.get())) {
      uint32_t tile_w = 0, tile_h = 0;
      TIFFGetField(tiff_.get(), TIFFTAG_TILEWIDTH, &tile_w);
      TIFFGetField(tiff_.get(), TIFFTAG_TILELENGTH, &tile_h);
      const int64_t bytes = TIFFTileSize64(tiff_.get()), row = TIFFTileRowSize64(tiff_.get());
      check_image_memory(image_.name, bytes);
      if (tile_w == 0 || tile_h == 0 || row < int64_t(tile_w) * sample_bytes() || bytes < row * tile_h) fail();
      std::vector<uint8_t> tile(static_cast<size_t>(bytes));
      for (int64_t y = 0; y < height_; y += tile_h)
        for (int64_t x = 0; x < width_; x += tile_w) {
          if (TIFFReadTile(tiff_.get(), tile.data(), uint32_t(x), uint32_t(y), 0, 0) < 0) fail();
          for (int64_t r = 0; r < std::min<int64_t>(tile_h, height_ - y); ++r)
            convert_row(tile.data() + r * row, std::min<int64_t>(tile_w, width_ - x),
                        &rgb[size_t(((y + r) * width_ + x) * 3)]);
        }
    } else {
      const int64_t bytes = TIFFScanlineSize64(tiff_.get());
      check_image_memory(image_.name, bytes);
      if (bytes < width_ * sample_bytes()) fail();
      std::vector<uint8_t> row(static_cast<size_t>(bytes));
      for (int64_t y = 0; y < height_; ++y) {
        if (TIFFReadScanline(tiff_.get(), row.data(), uint32_t(y), 0) < 0) fail();
        convert_row(row.data(), width_, &rgb[size_t(y * width_ * 3)]);
      }
    }
    return rgb;
  }

  int64_t sample_bytes() const { return int64_t(samples_) * bits_ / 8; }

  // libtiff has put 16-bit samples into the machine's byte order.
  int32_t sample(const uint8_t* pixel, int which) const {
    if (bits_ == 8) return pixel[which];
    uint16_t value;
    std::memcpy(&value, pixel + 2 * which, sizeof(value));
    return value >> 8;
  }

  void convert_row(const uint8_t* row, int64_t count, uint8_t* rgb) const {
    for (int64_t x = 0; x < count; ++x, row += sample_bytes(), rgb += 3)
      for (int c = 0; c < 3; ++c) {
        if (photometric_ == PHOTOMETRIC_RGB) {
          rgb[c] = uint8_t(sample(row, c));
        } else if (photometric_ == PHOTOMETRIC_SEPARATED) {
          rgb[c] = ink_on_white(sample(row, c), 255 - sample(row, 3));
        } else {
          rgb[c] = uint8_t(photometric_ == PHOTOMETRIC_MINISWHITE ? 255 - sample(row, 0) : sample(row, 0));
        }
      }
  }

  std::vector<uint8_t> converted() {
    char reason[1024] = "";
    if (!TIFFRGBAImageOK(tiff_.get(), reason)) throw BrokenImage(image_.name + ": " + reason);
    std::vector<uint32_t> raster(size_t(height_ * width_));
    TIFFSetField(tiff_.get(), TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);  // oriented() turns the picture
    if (!TIFFReadRGBAImageOriented(tiff_.get(), uint32_t(width_), uint32_t(height_), raster.data(), ORIENTATION_TOPLEFT,
                                   1))
      fail();
    std::vector<uint8_t> rgb(raster.size() * 3);
    for (size_t i = 0; i < raster.size(); ++i) {
      rgb[3 * i] = uint8_t(TIFFGetR(raster[i]));
      rgb[3 * i + 1] = uint8_t(TIFFGetG(raster[i]));
      rgb[3 * i + 2] = uint8_t(TIFFGetB(raster[i]));
    }
    return rgb;
  }

  // Orientations 1 to 8 of the tag: at which edges the stored first row and first column are shown.
  std::vector<uint8_t> oriented(std::vector<uint8_t> rgb) const {
    if (orientation_ <= ORIENTATION_TOPLEFT || orientation_ > ORIENTATION_LEFTBOT) return rgb;
    const bool bottom = orientation_ == ORIENTATION_BOTRIGHT || orientation_ == ORIENTATION_BOTLEFT ||
                        orientation_ == ORIENTATION_RIGHTBOT || orientation_ == ORIENTATION_LEFTBOT;
    const bool right = orientation_ == ORIENTATION_TOPRIGHT || orientation_ == ORIENTATION_BOTRIGHT ||
                       orientation_ == ORIENTATION_RIGHTTOP || orientation_ == ORIENTATION_RIGHTBOT;
    std::vector<uint8_t> seen(rgb.size());
    for (int64_t y = 0; y < height(); ++y)
      for (int64_t x = 0; x < width(); ++x) {
        const int64_t down = bottom ? height() - 1 - y : y, along = right ? width() - 1 - x : x;
        const int64_t row = is_turned() ? along : down, column = is_turned() ? down : along;
        std::memcpy(&seen[size_t((y * width() + x) * 3)], &rgb[size_t((row * width_ + column) * 3)], 3);
      }
    return seen;
  }

  const EncodedImage& image_;
  TiffSource source_;
  std::unique_ptr<TIFF, CloseTiff> tiff_;
  int64_t height_ = 0, width_ = 0;
  uint16_t bits_ = 1, samples_ = 1, format_ = SAMPLEFORMAT_UINT, planes_ = PLANARCONFIG_CONTIG;
  uint16_t orientation_ = ORIENTATION_TOPLEFT, photometric_ = PHOTOMETRIC_MINISBLACK;
};

}  // namespace

Region decode_tiff(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels) {
  TiffReader reader(image);
  constexpr int64_t kBytes = 7;  // per pixel: libtiff's conversion, and RGB
  return decode_whole(image, reader, kBytes, choose, pixels);
}

}  // namespace coss
