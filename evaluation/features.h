// Features: what a frozen network gives for the images of a data set, as a matrix on the host.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "engine/kernel_params.h"
#include "models/network.h"

namespace coss {

struct FeatureOptions {
  int32_t image_size = 224;
  int64_t batch = 64;
  int workers = 2;
  double max_broken_share = 0.01;  // of the images; more are an Error
  Normalization normalization;
  bool bicubic = false;  // how images are resized; else bilinear
  bool logits = false;   // the classifier's output instead of the pooled features
  std::function<void(int64_t done, int64_t size)> progress;
  std::function<void(const std::string&)> log;
};

struct Features {
  int64_t rows = 0, width = 0;
  std::vector<float> values;     // (rows, width)
  std::vector<int32_t> labels;   // -1: none
  std::vector<int64_t> indices;  // of the images in the data set; broken images are left out
};

// Runs the network in eval mode, in `dtype` on `device`, over the central crops of all images. Throws Interrupted after
// a signal, Error that names the image whose features are not finite.
Features extract_features(Network& network, const Dataset& dataset, Device device, DType dtype,
                          const FeatureOptions& options);
// Does the same in pieces of one batch, for data sets whose features do not fit in memory: `take` receives consecutive
// rows.
void for_each_features(Network& network, const Dataset& dataset, Device device, DType dtype,
                       const FeatureOptions& options, const std::function<void(const Features&)>& take);

struct WrittenFeatures {
  std::vector<int32_t> labels;  // of every image, -1: none
  int64_t broken = 0;           // images that could not be read
};

// Writes the features of all images to an .npy file (images, width) of f32, in pieces. Row i belongs to image i. The
// row of a broken image is zero and its label is -1, so that the indices of all other images stay right.
WrittenFeatures write_features(Network& network, const Dataset& dataset, Device device, DType dtype,
                               const FeatureOptions& options, const std::string& path);

}  // namespace coss
