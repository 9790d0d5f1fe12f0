// Which model computes as another library's weights of the same shapes want.
#include "models/network.h"

namespace coss {
namespace {

struct Variant {
  const char *model, *layout, *variant;
};
constexpr Variant kVariants[] = {
    {"efficientnet_b0", "lukemelas", "tf_efficientnet_b0"},
    {"efficientnet_b1", "lukemelas", "tf_efficientnet_b1"},
    {"efficientnet_b2", "lukemelas", "tf_efficientnet_b2"},
    {"efficientnet_b3", "lukemelas", "tf_efficientnet_b3"},
    {"efficientnet_b4", "lukemelas", "tf_efficientnet_b4"},
    {"efficientnet_b5", "lukemelas", "tf_efficientnet_b5"},
    {"efficientnet_b6", "lukemelas", "tf_efficientnet_b6"},
    {"efficientnet_b7", "lukemelas", "tf_efficientnet_b7"},
    {"mobilenet_v3_small", "timm", "mobilenetv3_small_100"},
    {"mobilenet_v3_large", "timm", "mobilenetv3_large_100"},
    {"mobilenet_v3_small", "d-li14", "mobilenet_v3_small_dli14"},
    {"mobilenet_v3_large", "d-li14", "mobilenet_v3_large_dli14"},
    {"vit_small_patch16_224", "mocov3", "vit_small_patch16_224_mocov3"},
};

}  // namespace

std::string variant_for(const std::string& model, const std::string& layout) {
  for (const Variant& row : kVariants)
    if (model == row.model && layout == row.layout) return row.variant;
  return model;
}

}  // namespace coss
