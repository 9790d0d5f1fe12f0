// The first frame of a GIF through giflib, with the colors that Pillow gives it: transparency is dropped.
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "data/decode.h"

namespace coss {

namespace {

struct Source {
  const std::vector<uint8_t>& bytes;
  size_t at = 0;
};

int read_source(GifFileType* gif, GifByteType* out, int count) {
  auto& source = *static_cast<Source*>(gif->UserData);
  const size_t bytes = std::min(size_t(count), source.bytes.size() - source.at);
  std::memcpy(out, source.bytes.data() + source.at, bytes);
  source.at += bytes;
  return int(bytes);
}

class GifReader {
 public:
  explicit GifReader(const EncodedImage& image) : image_(image), source_{image.bytes} {
    gif_.reset(DGifOpen(&source_, read_source, nullptr));
    if (!gif_) fail();
  }

  // Reads the file up to the first frame's pixels.
  void read_header() {
    GifRecordType type = UNDEFINED_RECORD_TYPE;
    while (type != IMAGE_DESC_RECORD_TYPE) {
      if (DGifGetRecordType(gif_.get(), &type) != GIF_OK || type == TERMINATE_RECORD_TYPE) fail();
      if (type == EXTENSION_RECORD_TYPE) read_extension();
    }
    if (DGifGetImageDesc(gif_.get()) != GIF_OK) fail();
  }

  // A frame may be larger than the screen size in the file.
  int64_t height() const { return std::max<int64_t>(gif_->SHeight, int64_t(frame().Top) + frame().Height); }
  int64_t width() const { return std::max<int64_t>(gif_->SWidth, int64_t(frame().Left) + frame().Width); }

  std::vector<uint8_t> pixels() {
    const ColorMapObject* colors = frame().ColorMap ? frame().ColorMap : gif_->SColorMap;
    if (!colors) fail();
    std::vector<uint8_t> indices(size_t(height() * width()), uint8_t(std::max(transparent_, 0)));
    for (const auto& [first, step] : rows())
      for (int64_t row = first; row < frame().Height; row += step) {
        uint8_t* const out = indices.data() + (frame().Top + row) * width() + frame().Left;
        if (DGifGetLine(gif_.get(), out, frame().Width) != GIF_OK) fail();
      }
    std::vector<uint8_t> rgb(indices.size() * 3);
    for (size_t i = 0; i < indices.size(); ++i) {
      const GifColorType color = indices[i] < colors->ColorCount ? colors->Colors[indices[i]] : GifColorType{};
      rgb[3 * i] = color.Red;
      rgb[3 * i + 1] = color.Green;
      rgb[3 * i + 2] = color.Blue;
    }
    return rgb;
  }

 private:
  struct Close {
    void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
  };

  [[noreturn]] void fail() const { throw BrokenImage(image_.name + ": the GIF file is damaged or cut short"); }
  const GifImageDesc& frame() const { return gif_->Image; }

  void read_extension() {
    int code = 0;
    GifByteType* block = nullptr;
    if (DGifGetExtension(gif_.get(), &code, &block) != GIF_OK) fail();
    GraphicsControlBlock control;
    if (code == GRAPHICS_EXT_FUNC_CODE && block && DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK)
      transparent_ = control.TransparentColor;
    while (block)
      if (DGifGetExtensionNext(gif_.get(), &block) != GIF_OK) fail();
  }

  // First row and row distance of each interlacing pass.
  std::vector<std::pair<int64_t, int64_t>> rows() const {
    if (frame().Interlace) return {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
    return {{0, 1}};
  }

  const EncodedImage& image_;
  Source source_;
  std::unique_ptr<GifFileType, Close> gif_;
  int transparent_ = NO_TRANSPARENT_COLOR;
};

}  // namespace

Region decode_gif(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels) {
  GifReader reader(image);
  reader.read_header();
  constexpr int64_t kBytes = 4;  // per pixel: its index and its color
  return decode_whole(image, reader, kBytes, choose, pixels);
}

}  // namespace coss
