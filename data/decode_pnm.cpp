// PGM and PPM, the binary kinds ("P5" and "P6"): a header in text, then rows of one or three samples per pixel.
#include <string>

#include "data/decode.h"

namespace coss {

namespace {

// Reads the numbers of the header, which may be separated by comments.
class HeaderReader {
 public:
  explicit HeaderReader(const EncodedImage& image) : image_(image) {}

  int64_t number() {
    skip_space();
    int64_t value = 0;
    const size_t start = at_;
    while (at_ < image_.bytes.size() && image_.bytes[at_] >= '0' && image_.bytes[at_] <= '9' && at_ - start < 10) {
      value = value * 10 + (image_.bytes[at_++] - '0');
    }
    if (at_ == start) throw BrokenImage(image_.name + ": the PNM header is not complete");
    return value;
  }
  // One white space ends the header.
  size_t end() const { return at_ + 1; }

 private:
  void skip_space() {
    bool comment = false;
    for (; at_ < image_.bytes.size(); ++at_) {
      const uint8_t c = image_.bytes[at_];
      if (c == '#') comment = true;
      if (c == '\n' || c == '\r') comment = false;
      if (!comment && c != ' ' && (c < '\t' || c > '\r')) return;
    }
  }

  const EncodedImage& image_;
  size_t at_ = 2;
};

}  // namespace

Region decode_pnm(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels) {
  HeaderReader header(image);
  const int64_t width = header.number(), height = header.number(), greatest = header.number();
  check_image_size(image.name, height, width);
  if (greatest < 1 || greatest > 65535) {
    throw BrokenImage(image.name + ": the greatest value is " + std::to_string(greatest));
  }
  const int64_t channels = image.bytes[1] == '6' ? 3 : 1, size = greatest > 255 ? 2 : 1;
  if (int64_t(image.bytes.size()) - int64_t(header.end()) < height * width * channels * size) {
    throw BrokenImage(image.name + ": the PNM file is cut short");
  }
  const Region region = chosen_region(choose, height, width);
  const uint8_t* samples = image.bytes.data() + header.end();
  uint8_t* out = grow(pixels, region);
  for (int64_t y = region.y; y < region.y + region.h; ++y) {
    for (int64_t x = region.x; x < region.x + region.w; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        const uint8_t* sample = samples + ((y * width + x) * channels + (channels == 3 ? c : 0)) * size;
        const int64_t value = size == 2 ? sample[0] * 256 + sample[1] : sample[0];
        // 16 bits keep their upper byte; other scales are stretched to 255.
        const bool plain = greatest == 255 || greatest == 65535;
        const int64_t byte = plain ? (size == 2 ? value >> 8 : value) : (value * 255 + greatest / 2) / greatest;
        *out++ = uint8_t(byte > 255 ? 255 : byte);
      }
    }
  }
  return region;
}

}  // namespace coss
