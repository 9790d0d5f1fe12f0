// JPEG through libjpeg-turbo. Only the rows and columns of a crop are decoded.
//
// libjpeg reports errors through a callback that must not return. It jumps back here with longjmp, across C frames
// only. No function between holds an object with a destructor.
#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
// After <cstdio>, which jpeglib.h needs, and before jerror.h.
#include <jerror.h>
#include <jpeglib.h>

#include "data/decode.h"

namespace coss {

namespace {

struct ErrorManager {
  jpeg_error_mgr base;  // first, so that libjpeg's pointer to it is a pointer to this
  std::jmp_buf back;
  char text[JMSG_LENGTH_MAX];
};

[[noreturn]] void jump_back(j_common_ptr info) {
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  errors->base.format_message(info, errors->text);
  std::longjmp(errors->back, 1);
}

// Warnings that mean lost pixels end the decoding; stray bytes between markers and odd headers, which are common in
// ImageNet and harm nothing, do not.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_TOO_MUCH_DATA:
      return;
    default:
      jump_back(info);
  }
}

class JpegReader {
 public:
  explicit JpegReader(const EncodedImage& image) : image_(image) {
    std::memset(&info_, 0, sizeof(info_));
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = jump_back;
    errors_.base.emit_message = on_message;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  void read_header() {
    if (setjmp(errors_.back)) fail();
    jpeg_create_decompress(&info_);
    jpeg_mem_src(&info_, image_.bytes.data(), static_cast<unsigned long>(image_.bytes.size()));
    jpeg_read_header(&info_, TRUE);
  }
  int64_t height() const { return info_.image_height; }
  int64_t width() const { return info_.image_width; }
  int64_t components() const { return info_.num_components; }
  bool is_progressive() const { return info_.progressive_mode; }

  void decode(const Region& region, uint8_t* out) {
    const bool cmyk = info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
    start(region, cmyk);
    const int64_t skip = (region.x - int64_t(left_)) * info_.output_components;
    for (int32_t y = 0; y < region.h; ++y, out += region.w * 3) {
      read_row();
      if (cmyk) {
        cmyk_to_rgb(row_.data() + skip, region.w, out);
      } else {
        std::memcpy(out, row_.data() + skip, size_t(region.w) * 3);
      }
    }
  }

 private:
  [[noreturn]] void fail() { throw BrokenImage(image_.name + ": " + errors_.text); }

  // Skips to the first row of the region. Smooth upsampling of the colors reads neighboring samples, so one more block
  // is decoded on each side: the pixels then equal those of a full decode.
  void start(const Region& region, bool cmyk) {
    if (setjmp(errors_.back)) fail();
    info_.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&info_);
    const int32_t block_w = info_.max_h_samp_factor * DCTSIZE, block_h = info_.max_v_samp_factor * DCTSIZE;
    left_ = JDIMENSION(std::max(0, region.x - block_w));
    JDIMENSION columns = JDIMENSION(std::min(int64_t(region.x) + region.w + block_w, width())) - left_;
    if (columns < info_.image_width) jpeg_crop_scanline(&info_, &left_, &columns);
    above_ = JDIMENSION(std::max(0, region.y - block_h));
    if (above_ > 0) jpeg_skip_scanlines(&info_, above_);
    above_ = JDIMENSION(region.y) - above_;
    row_.resize(size_t(info_.output_width) * size_t(info_.output_components));
    for (; above_ > 0; --above_) next_scanline();
  }

  void read_row() {
    if (setjmp(errors_.back)) fail();
    next_scanline();
  }

  void next_scanline() {
    JSAMPROW row = row_.data();
    jpeg_read_scanlines(&info_, &row, 1);
  }

  // Samples are taken as inverted, as Adobe's programs write them; Pillow does the same.
  static void cmyk_to_rgb(const uint8_t* cmyk, int32_t count, uint8_t* rgb) {
    for (int32_t x = 0; x < count; ++x, cmyk += 4, rgb += 3) {
      for (int c = 0; c < 3; ++c) rgb[c] = ink_on_white(255 - cmyk[c], cmyk[3]);
    }
  }

  const EncodedImage& image_;
  jpeg_decompress_struct info_;
  ErrorManager errors_;
  std::vector<uint8_t> row_;
  JDIMENSION left_ = 0, above_ = 0;
};

}  // namespace

Region decode_jpeg(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels) {
  JpegReader reader(image);
  reader.read_header();
  check_image_size(image.name, reader.height(), reader.width());
  // The coefficients of a progressive file stay in memory, 16 bits per sample.
  if (reader.is_progressive())
    check_image_memory(image.name, reader.height() * reader.width() * reader.components() * 2);
  const Region region = chosen_region(choose, reader.height(), reader.width());
  reader.decode(region, grow(pixels, region));
  return region;
}

}  // namespace coss
