// AVIF through libavif and HEIC through libheif, if the build has found them.
#ifdef COSS_AVIF
#include <avif/avif.h>
#endif
#ifdef COSS_HEIF
#include <libheif/heif.h>
#endif

#include <memory>

#include "data/decode.h"

namespace coss {

namespace {

[[maybe_unused]] constexpr int64_t kDecodingBytes = 12;  // per pixel: planes of up to 16 bits, and RGB

}  // namespace

#ifdef COSS_AVIF
Region decode_avif(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels) {
  const std::unique_ptr<avifDecoder, void (*)(avifDecoder*)> decoder(avifDecoderCreate(), avifDecoderDestroy);
  const auto check = [&](avifResult result) {
    if (result != AVIF_RESULT_OK) throw BrokenImage(image.name + ": the AVIF file: " + avifResultToString(result));
  };
  decoder->maxThreads = 1;
  decoder->ignoreExif = decoder->ignoreXMP = AVIF_TRUE;
  check(avifDecoderSetIOMemory(decoder.get(), image.bytes.data(), image.bytes.size()));
  check(avifDecoderParse(decoder.get()));
  const int64_t height = decoder->image->height, width = decoder->image->width;
  check_image_size(image.name, height, width);
  check_image_memory(image.name, height * width * kDecodingBytes);
  const Region region = chosen_region(choose, height, width);
  check(avifDecoderNextImage(decoder.get()));

  std::vector<uint8_t> rgb(size_t(height * width * 3));
  avifRGBImage output;
  avifRGBImageSetDefaults(&output, decoder->image);
  output.format = AVIF_RGB_FORMAT_RGB;
  output.depth = 8;
  output.pixels = rgb.data();
  output.rowBytes = uint32_t(width * 3);
  check(avifImageYUVToRGB(decoder->image, &output));
  copy_region({rgb.data(), width * 3, 3}, region, pixels);
  return region;
}
#else
Region decode_avif(const EncodedImage& image, const ChooseRegion&, std::vector<uint8_t>&) {
  throw BrokenImage(image.name + ": an AVIF image, and this coss was built without libavif (Debian: libavif-dev)");
}
#endif

#ifdef COSS_HEIF
Region decode_heif(const EncodedImage& image, const ChooseRegion& choose, std::vector<uint8_t>& pixels) {
  const auto check = [&](const heif_error& error) {
    if (error.code != heif_error_Ok) throw BrokenImage(image.name + ": the HEIC file: " + error.message);
  };
  const std::unique_ptr<heif_context, void (*)(heif_context*)> context(heif_context_alloc(), heif_context_free);
  check(heif_context_read_from_memory_without_copy(context.get(), image.bytes.data(), image.bytes.size(), nullptr));
  heif_image_handle* found = nullptr;
  check(heif_context_get_primary_image_handle(context.get(), &found));
  const std::unique_ptr<heif_image_handle, void (*)(const heif_image_handle*)> handle(found, heif_image_handle_release);
  const int64_t height = heif_image_handle_get_height(handle.get()), width = heif_image_handle_get_width(handle.get());
  check_image_size(image.name, height, width);
  check_image_memory(image.name, height * width * kDecodingBytes);
  const Region region = chosen_region(choose, height, width);

  heif_image* made = nullptr;
  check(heif_decode_image(handle.get(), &made, heif_colorspace_RGB, heif_chroma_interleaved_RGB, nullptr));
  const std::unique_ptr<heif_image, void (*)(const heif_image*)> output(made, heif_image_release);
  int stride = 0;
  const uint8_t* const rgb = heif_image_get_plane_readonly(output.get(), heif_channel_interleaved, &stride);
  const bool same = heif_image_get_height(output.get(), heif_channel_interleaved) == height &&
                    heif_image_get_width(output.get(), heif_channel_interleaved) == width;
  if (!rgb || !same) throw BrokenImage(image.name + ": the HEIC file has a picture of another size than it says");
  copy_region({rgb, stride, 3}, region, pixels);
  return region;
}
#else
Region decode_heif(const EncodedImage& image, const ChooseRegion&, std::vector<uint8_t>&) {
  throw BrokenImage(image.name + ": an HEIC image, and this coss was built without libheif (Debian: libheif-dev)");
}
#endif

}  // namespace coss
