// Images go from the loader through augment_images (eval) and the network to the host.
#include "evaluation/features.h"

#include <fmt/format.h>

#include "data/loader.h"
#include "engine/finite.h"
#include "evaluation/signals.h"
#include "formats/npy.h"

namespace coss {
namespace {

void check_finite(const float* row, int64_t width, bool logits, const Dataset& dataset, int64_t image) {
  const NotFinite bad = not_finite(row, width);
  COSS_CHECK(bad.count == 0,
             fmt::format("{}: {} of the {} {} that the network gives for it are not finite (NaN or infinity). Usually "
                         "the weights are damaged or of another network, the mean and standard deviation of the images "
                         "are wrong, or fp16 overflows: check --weights, --mean and --std, or use fp32",
                         dataset.name(image), bad.count, width, logits ? "logits" : "features"));
}

}  // namespace

void for_each_features(Network& network, const Dataset& dataset, Device device, DType dtype,
                       const FeatureOptions& options, const std::function<void(const Features&)>& take) {
  const NoGrad no_grad;
  Context& ctx = context(device);
  const Kernels& k = kernels(device);
  SequentialSampler sampler(dataset.size(), options.batch);
  LoaderOptions loading;
  loading.workers = options.workers;
  loading.max_broken_share = options.max_broken_share;
  loading.ring = 2;  // whole images wait there, not crops
  loading.replace_broken = false;
  loading.log = options.log;
  loading.views = {{find_augmentation("eval"), options.image_size}};
  loading.views[0].augmentation.bicubic = options.bicubic;
  if (options.log && !dataset.notes().empty()) options.log(dataset.notes());
  Loader loader(dataset, sampler, loading);
  loader.start(0, 0, 0);
  int64_t done = 0;
  while (const Batch* batch = loader.next()) {
    stop_if_interrupted();
    const int64_t n = int64_t(batch->indices.size());
    const View& view = batch->views[0];
    Tensor pixels({int64_t(view.pixels.size())}, DType::u8, device);
    Tensor params({n * int64_t(sizeof(ImageParams))}, DType::u8, device);
    k.upload(ctx, view.pixels.data(), pixels);
    k.upload(ctx, view.params.data(), params);
    Tensor images({n, options.image_size, options.image_size, 3}, dtype, device);
    k.augment_images(ctx, options.normalization, params, pixels, images);
    Var out = network.features(Var(images), Mode::eval);
    if (options.logits) out = network.logits(out, Mode::eval);
    Tensor single = out.value;
    if (dtype != DType::f32) {
      single = Tensor(out.shape(), DType::f32, device);
      k.cast(ctx, out.value, single);
    }
    const std::vector<float> rows = single.to_vector<float>();

    Features piece;
    piece.width = out.shape().back();
    for (int64_t i = 0; i < n; ++i) {
      if (!batch->valid[size_t(i)]) continue;
      check_finite(rows.data() + i * piece.width, piece.width, options.logits, dataset, batch->indices[size_t(i)]);
      piece.values.insert(piece.values.end(), rows.begin() + i * piece.width, rows.begin() + (i + 1) * piece.width);
      piece.labels.push_back(batch->labels[size_t(i)]);
      piece.indices.push_back(batch->indices[size_t(i)]);
    }
    piece.rows = int64_t(piece.indices.size());
    take(piece);
    done += n;
    if (options.progress) options.progress(done, dataset.size());
  }
}

Features extract_features(Network& network, const Dataset& dataset, Device device, DType dtype,
                          const FeatureOptions& options) {
  Features all;
  for_each_features(network, dataset, device, dtype, options, [&](const Features& piece) {
    all.width = piece.width;
    all.rows += piece.rows;
    all.values.insert(all.values.end(), piece.values.begin(), piece.values.end());
    all.labels.insert(all.labels.end(), piece.labels.begin(), piece.labels.end());
    all.indices.insert(all.indices.end(), piece.indices.begin(), piece.indices.end());
  });
  COSS_CHECK(all.rows > 0, "not one image of the data set could be read");
  return all;
}

WrittenFeatures write_features(Network& network, const Dataset& dataset, Device device, DType dtype,
                               const FeatureOptions& options, const std::string& path) {
  const int64_t size = dataset.size(), width = network.feature_width;
  NpyWriter writer(path, FileDType::f32, {size, width});
  const std::vector<float> zeros(size_t(width), 0.0f);
  WrittenFeatures written;
  auto fill_up_to = [&](int64_t row) {
    for (; int64_t(written.labels.size()) < row; ++written.broken) {
      writer.append(zeros.data(), zeros.size() * sizeof(float));
      written.labels.push_back(-1);
    }
  };
  for_each_features(network, dataset, device, dtype, options, [&](const Features& piece) {
    for (int64_t i = 0; i < piece.rows; ++i) {
      fill_up_to(piece.indices[size_t(i)]);
      writer.append(piece.values.data() + i * width, size_t(width) * sizeof(float));
      written.labels.push_back(piece.labels[size_t(i)]);
    }
  });
  fill_up_to(size);
  writer.finish();
  return written;
}

}  // namespace coss
