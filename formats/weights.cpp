// Moving numbers between PyTorch's layout and the engine's.
#include "formats/weights.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "engine/kernels.h"
#include "engine/text.h"

namespace coss {
namespace {

constexpr Normalisation kImagenet{};
constexpr size_t kListed = 8;  // names of each kind in a message
constexpr char kTracked[] = "num_batches_tracked";

std::vector<int64_t> file_shape(const Params::Entry& entry) {
  const Shape& s = entry.shape;
  switch (entry.layout) {
    case FileLayout::conv:
      return {s[0], s[3], s[1], s[2]};
    case FileLayout::depthwise:
      return {s[2], 1, s[0], s[1]};
    case FileLayout::plain:
      break;
  }
  return {s.dims.begin(), s.dims.begin() + s.rank};
}

// Calls visit(engine index, file index) for every number of an entry.
template <class Visit>
void for_each_number(const Params::Entry& entry, Visit visit) {
  const Shape& s = entry.shape;
  if (entry.layout == FileLayout::plain) {
    for (int64_t i = 0; i < s.numel(); ++i) visit(i, i);
    return;
  }
  // A depthwise weight is (R,S,C) here and (C,1,R,S) there: one of K = 1 with its channels outermost in the file.
  const bool depthwise = entry.layout == FileLayout::depthwise;
  const int64_t k = depthwise ? 1 : s[0], r = s[depthwise ? 0 : 1], w = s[depthwise ? 1 : 2], c = s.back();
  int64_t here = 0;
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t tap = 0; tap < r * w; ++tap) {
      for (int64_t channel = 0; channel < c; ++channel) visit(here++, (i * c + channel) * r * w + tap);
    }
  }
}

bool in_scope(const std::string& name, const std::string& scope) {
  return scope.empty() ||
         (name.size() > scope.size() && name.compare(0, scope.size(), scope) == 0 && name[scope.size()] == '.');
}

std::string without_scope(const std::string& name, const std::string& scope) {
  return scope.empty() ? name : name.substr(scope.size() + 1);
}

void write_entry(Params& params, const Params::Entry& entry, const std::vector<float>& from) {
  Tensor target = params.master(entry);
  Context& ctx = context(params.device());
  if (target.dtype() == DType::f64) {
    std::vector<double> values(from.size());
    for_each_number(entry, [&](int64_t here, int64_t there) { values[size_t(here)] = double(from[size_t(there)]); });
    kernels(target).upload(ctx, values.data(), target);
  } else {
    std::vector<float> values(from.size());
    for_each_number(entry, [&](int64_t here, int64_t there) { values[size_t(here)] = from[size_t(there)]; });
    kernels(target).upload(ctx, values.data(), target);
  }
}

std::string listed(const std::string& title, const std::vector<std::string>& names) {
  if (names.empty()) return "";
  std::string text = "\n  " + std::to_string(names.size()) + " " + title + ": ";
  for (size_t i = 0; i < std::min(names.size(), kListed); ++i) text += (i ? ", " : "") + printable(names[i]);
  return names.size() > kListed ? text + ", …" : text;
}

template <class T>
NamedTensor named_tensor(std::string name, FileDType dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
  NamedTensor tensor{std::move(name), dtype, std::move(shape), std::vector<uint8_t>(values.size() * sizeof(T))};
  if (!values.empty()) std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

}  // namespace

namespace {

// False, and `values` as they were, when the metadata has no such three numbers.
bool read_channels(const TensorFile& file, const std::string& key, float (&values)[3]) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) return false;
  std::istringstream text(found->second);
  float read[3];
  char comma = ',';
  for (int i = 0; i < 3; ++i) {
    if (i > 0) text >> comma;
    if (!(text >> read[i]) || comma != ',' || !std::isfinite(read[i])) return false;
  }
  std::copy_n(read, 3, values);
  return true;
}

Normalisation normalisation_of(const TensorFile& file, const LayoutMatch& match) {
  Normalisation said;
  const bool complete =
      read_channels(file, "image_mean", said.mean) && read_channels(file, "image_stddev", said.stddev);
  const bool usable = complete && *std::min_element(said.stddev, said.stddev + 3) > 0;
  return usable ? said : match.normalisation();
}

}  // namespace

WeightReport::WeightReport(const TensorFile& file, const LayoutMatch& match)
    : container(file.container()),
      layout(match.layout_name()),
      stripped_prefix(match.prefix),
      normalisation(normalisation_of(file, match)),
      matched(match.matched),
      missing(match.missing),
      unexpected(match.unexpected),
      mismatched(match.mismatched) {}

std::string WeightReport::str() const {
  std::string text = container + ": " + std::to_string(matched) + " tensors loaded, layout " + layout;
  if (!stripped_prefix.empty()) text += ", prefix '" + stripped_prefix + "' stripped";
  if (std::memcmp(&normalisation, &kImagenet, sizeof(kImagenet)) != 0) {
    text += ", trained on images of mean " + channels_text(normalisation.mean) + " and standard deviation " +
            channels_text(normalisation.stddev);
  }
  return text + listed("missing", missing) + listed("of another shape", mismatched) + listed("left over", unexpected);
}

std::string channels_text(const float (&values)[3]) {
  char text[64];
  std::snprintf(text, sizeof(text), "%g,%g,%g", double(values[0]), double(values[1]), double(values[2]));
  return text;
}

std::vector<WantedTensor> wanted_tensors(const Params& params, const std::string& scope,
                                         const std::function<bool(const std::string&)>& optional) {
  std::vector<WantedTensor> wanted;
  for (const Params::Entry& entry : params.entries()) {
    if (!in_scope(entry.name, scope)) continue;
    const std::string name = without_scope(entry.name, scope);
    wanted.push_back({name, file_shape(entry), optional && optional(name)});
  }
  return wanted;
}

WeightReport load_weights(const std::string& path, Params& params, const std::string& scope,
                          const std::function<bool(const std::string&)>& optional) {
  const TensorFile file = open_tensor_file(path);
  const std::vector<WantedTensor> wanted = wanted_tensors(params, scope, optional);
  const LayoutMatch match = match_layout(file, wanted);
  const WeightReport report(file, match);
  COSS_CHECK(match.complete(),
             path + " does not fit the model: of " + std::to_string(wanted.size()) + " tensors, " + report.str());
  size_t at = 0;
  for (const Params::Entry& entry : params.entries()) {
    if (!in_scope(entry.name, scope)) continue;
    if (const FileTensor* tensor = match.tensors[at++]) write_entry(params, entry, file.read_floats(*tensor));
  }
  params.refresh_compute();
  return report;
}

std::vector<NamedTensor> weights_as_tensors(Params& params, const std::string& scope) {
  constexpr char kMean[] = "running_mean";
  std::vector<NamedTensor> tensors;
  for (const Params::Entry& entry : params.entries()) {
    if (!in_scope(entry.name, scope)) continue;
    const std::string name = without_scope(entry.name, scope);
    const std::vector<double> from = params.master(entry).to_doubles();
    std::vector<float> values(from.size());
    for_each_number(entry, [&](int64_t here, int64_t there) { values[size_t(there)] = float(from[size_t(here)]); });
    tensors.push_back(named_tensor(name, FileDType::f32, file_shape(entry), values));
    if (name.ends_with(kMean)) {
      const std::string norm = name.substr(0, name.size() - std::strlen(kMean));
      tensors.push_back(
          named_tensor(norm + kTracked, FileDType::i64, {}, std::vector<int64_t>{params.batches_tracked}));
    }
  }
  COSS_CHECK(!tensors.empty(), "there are no parameters below '" + scope + "'");
  return tensors;
}

void save_weights(const std::string& path, Params& params, const std::string& scope,
                  const std::map<std::string, std::string>& metadata) {
  write_safetensors(path, weights_as_tensors(params, scope), metadata);
}

}  // namespace coss
