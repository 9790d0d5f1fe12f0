// Moving numbers between PyTorch's layout and the engine's.
#include "formats/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>

#include "engine/text.h"
#include "formats/weight_numbers.h"

namespace coss {
namespace {

constexpr Normalization kImagenet{};
constexpr size_t kListed = 8;  // names of each kind in a message
constexpr char kTracked[] = "num_batches_tracked";

bool in_scope(const std::string& name, const std::string& scope) {
  return scope.empty() ||
         (name.size() > scope.size() && name.compare(0, scope.size(), scope) == 0 && name[scope.size()] == '.');
}

std::string without_scope(const std::string& name, const std::string& scope) {
  return scope.empty() ? name : name.substr(scope.size() + 1);
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

// Returns false, and leaves `values` as they were, when the metadata has no such three numbers.
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

Normalization normalization_of(const TensorFile& file, const LayoutMatch& match) {
  Normalization said;
  const bool complete =
      read_channels(file, "image_mean", said.mean) && read_channels(file, "image_stddev", said.stddev);
  const bool usable = complete && *std::min_element(said.stddev, said.stddev + 3) > 0;
  return usable ? said : match.normalization();
}

}  // namespace

WeightReport::WeightReport(const TensorFile& file, const LayoutMatch& match)
    : container(file.container()),
      layout(match.layout_name()),
      stripped_prefix(match.prefix),
      normalization(normalization_of(file, match)),
      matched(match.matched),
      missing(match.missing),
      unexpected(match.unexpected),
      mismatched(match.mismatched) {}

std::string WeightReport::str() const {
  std::string text = container + ": " + std::to_string(matched) + " tensors loaded, layout " + layout;
  if (!stripped_prefix.empty()) text += ", prefix '" + stripped_prefix + "' stripped";
  if (normalization != kImagenet) {
    text += ", trained on images of mean " + channels_text(normalization.mean) + " and standard deviation " +
            channels_text(normalization.stddev);
  }
  return text + listed("missing", missing) + listed("of another shape", mismatched) + listed("left over", unexpected);
}

std::string channels_text(const float (&values)[3]) {
  return fmt::format("{},{},{}", values[0], values[1], values[2]);  // the shortest that reads back as the same
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

WeightReport load_weights(const TensorFile& file, const LayoutMatch& match, Params& params, const std::string& scope) {
  const WeightReport report(file, match);
  COSS_CHECK(match.complete(), file.path() + " does not fit the model: of " + std::to_string(match.tensors.size()) +
                                   " tensors, " + report.str());
  size_t at = 0;
  std::vector<Filling> fillings;
  for (const Params::Entry& entry : params.entries()) {
    if (!in_scope(entry.name, scope)) continue;
    if (const FileTensor* tensor = match.tensors[at++]) fillings.push_back({&entry, tensor});
  }
  fill_params(file, fillings, params);
  params.refresh_compute();
  return report;
}

void load_tensors(const TensorFile& file, const std::vector<std::pair<std::string, const FileTensor*>>& tensors,
                  Params& params) {
  std::vector<Filling> fillings;
  for (const Params::Entry& entry : params.entries()) {
    const auto found =
        std::find_if(tensors.begin(), tensors.end(), [&](const auto& tensor) { return tensor.first == entry.name; });
    COSS_CHECK(found != tensors.end(), file.path() + ": the head's tensor '" + entry.name + "' is missing");
    COSS_CHECK(found->second->shape == file_shape(entry), file.path() + ": the head's tensor '" + entry.name + "' is " +
                                                              shape_text(found->second->shape) + ", expected " +
                                                              shape_text(file_shape(entry)));
    fillings.push_back({&entry, found->second});
  }
  fill_params(file, fillings, params);
  params.refresh_compute();
}

std::vector<NamedTensor> weights_as_tensors(Params& params, const std::string& scope) {
  constexpr char kMean[] = "running_mean";
  std::vector<NamedTensor> tensors;
  for (const Params::Entry& entry : params.entries()) {
    if (!in_scope(entry.name, scope)) continue;
    const std::string name = without_scope(entry.name, scope);
    const std::vector<double> wide = params.master(entry).to_doubles();
    const std::vector<float> here(wide.begin(), wide.end());
    std::vector<float> values(here.size());
    to_file_order(entry, here.data(), values.data());
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
