// WebP through libwebp, lossy and lossless; of an animation the first frame. Transparency is dropped, as Pillow does.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "data/decode.h"

namespace coss {

namespace {

[[noreturn]] void fail_webp(const EncodedImage& image) {
  throw BrokenImage(image.name + ": the WebP file is damaged or cut short");
}

Region first_frame(const EncodedImage& image, const Region& region, std::vector<uint8_t>& pixels) {
  WebPAnimDecoderOptions options;
  WebPAnimDecoderOptionsInit(&options);
  options.color_mode = MODE_RGBA;
  const WebPData data{image.bytes.data(), image.bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, void (*)(WebPAnimDecoder*)> decoder(WebPAnimDecoderNew(&data, &options),
                                                                             WebPAnimDecoderDelete);
  WebPAnimInfo info;
  uint8_t* canvas = nullptr;
  int milliseconds = 0;
  if (!decoder || !WebPAnimDecoderGetInfo(decoder.get(), &info) ||
      !WebPAnimDecoderGetNext(decoder.get(), &canvas, &milliseconds))
    fail_webp(image);
  copy_region({canvas, int64_t(info.canvas_width) * 4, 4}, region, pixels);
  return region;
}

}  // namespace

Region decode_webp(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config) ||
      WebPGetFeatures(image.bytes.data(), image.bytes.size(), &config.input) != VP8_STATUS_OK)
    fail_webp(image);
  const int64_t height = config.input.height, width = config.input.width;
  check_image_size(image.name, height, width);
  constexpr int64_t kBytesOfAnimation = 12, kBytes = 6;  // per pixel: planes, output, the canvas before
  check_image_memory(image.name, height * width * (config.input.has_animation ? kBytesOfAnimation : kBytes));
  const Region region = chosen_region(choose, height, width);
  if (config.input.has_animation) return first_frame(image, region, pixels);

  config.output.colorspace = MODE_RGB;
  const bool decoded = WebPDecode(image.bytes.data(), image.bytes.size(), &config) == VP8_STATUS_OK;
  const std::unique_ptr<WebPDecBuffer, void (*)(WebPDecBuffer*)> output(&config.output, WebPFreeDecBuffer);
  if (!decoded) fail_webp(image);
  copy_region({config.output.u.RGBA.rgba, config.output.u.RGBA.stride, 3}, region, pixels);
  return region;
}

}  // namespace coss
