// Finding the prefix of a file's names, and moving numbers between PyTorch's layout and the engine's.
#include "formats/weights.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "engine/kernels.h"

namespace coss {
namespace {

// What stands in front of a backbone's names in published checkpoints: keys of the dictionaries that wrap the weights,
// and the modules that held the backbone. Each may follow each other. Where two lead to equally many tensors the
// earlier line wins, so "teacher" stands before "student" as DINO's own evaluation does.
constexpr const char* kWrappers[] = {
    "state_dict",     "model",           "model_state_dict", "net",      "network",
    "resnet",         "online_backbone", "teacher",          "student",  "module",
    "_orig_mod",      "encoder_q",       "base_encoder",     "backbone", "encoder",
    "online_encoder", "trunk",           "_feature_blocks",  "visual",   "classy_state_dict",
    "base_model",
};
constexpr size_t kMostWrappers = 8;    // in front of one name
constexpr size_t kMostPrefixes = 256;  // tried in one file
constexpr size_t kListed = 8;          // names of each kind in a message
constexpr char kTracked[] = "num_batches_tracked";

// A parameter that is wanted, by its name and shape in the file.
struct Wanted {
  const Params::Entry* entry;
  std::string name;
  std::vector<int64_t> shape;
  bool optional;
};

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

// Every prefix made of wrappers that some name of the file begins with, shortest first.
std::vector<std::string> possible_prefixes(const TensorFile& file) {
  std::set<std::string> names;
  for (const FileTensor& tensor : file.tensors()) names.insert(tensor.name);
  std::vector<std::string> prefixes{""};
  size_t begin = 0;
  for (size_t depth = 0; depth < kMostWrappers; ++depth) {
    const size_t end = prefixes.size();
    for (size_t i = begin; i < end; ++i) {
      for (const char* wrapper : kWrappers) {
        const std::string longer = prefixes[i] + wrapper + ".";
        const auto first = names.lower_bound(longer);
        const bool used = first != names.end() && first->compare(0, longer.size(), longer) == 0;
        if (used && prefixes.size() < kMostPrefixes) prefixes.push_back(longer);
      }
    }
    begin = end;
  }
  return prefixes;
}

std::string best_prefix(const TensorFile& file, const std::vector<Wanted>& wanted) {
  std::pair<int64_t, int64_t> best{-1, -1};
  std::string chosen;
  for (const std::string& prefix : possible_prefixes(file)) {
    std::pair<int64_t, int64_t> score{0, 0};  // of the right shape; of the right name
    for (const Wanted& want : wanted) {
      const FileTensor* tensor = want.optional ? nullptr : file.find(prefix + want.name);
      if (!tensor) continue;
      score.second += 1;
      score.first += tensor->shape == want.shape;
    }
    if (score > best) {
      best = score;
      chosen = prefix;
    }
  }
  return chosen;
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
  for (size_t i = 0; i < std::min(names.size(), kListed); ++i) text += (i ? ", " : "") + names[i];
  return names.size() > kListed ? text + ", …" : text;
}

template <class T>
NamedTensor named_tensor(std::string name, FileDType dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
  NamedTensor tensor{std::move(name), dtype, std::move(shape), std::vector<uint8_t>(values.size() * sizeof(T))};
  if (!values.empty()) std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

}  // namespace

std::string WeightReport::str() const {
  std::string text = container + ": " + std::to_string(matched) + " tensors loaded";
  if (!stripped_prefix.empty()) text += ", prefix '" + stripped_prefix + "' stripped";
  return text + listed("missing", missing) + listed("of another shape", mismatched) + listed("left over", unexpected);
}

WeightReport load_weights(const std::string& path, Params& params, const std::string& scope,
                          const std::function<bool(const std::string&)>& optional) {
  const TensorFile file = open_tensor_file(path);
  std::vector<Wanted> wanted;
  for (const Params::Entry& entry : params.entries()) {
    if (!in_scope(entry.name, scope)) continue;
    const std::string name = without_scope(entry.name, scope);
    wanted.push_back({&entry, name, file_shape(entry), optional && optional(name)});
  }

  WeightReport report;
  report.container = file.container();
  report.stripped_prefix = best_prefix(file, wanted);
  std::set<std::string> used;
  std::vector<std::pair<const Wanted*, const FileTensor*>> pairs;
  bool complete = true;
  for (const Wanted& want : wanted) {
    const FileTensor* tensor = file.find(report.stripped_prefix + want.name);
    if (tensor) used.insert(tensor->name);
    if (tensor && tensor->shape == want.shape) {
      pairs.emplace_back(&want, tensor);
      continue;
    }
    complete &= want.optional;
    const std::string needs = want.name + " " + shape_text(want.shape);
    if (tensor) {
      report.mismatched.push_back(needs + " is " + shape_text(tensor->shape) + " in the file");
    } else {
      report.missing.push_back(needs);
    }
  }
  for (const FileTensor& tensor : file.tensors()) {
    const bool counter = tensor.name.ends_with(std::string(".") + kTracked);
    if (!counter && !used.count(tensor.name)) {
      report.unexpected.push_back(tensor.name + " " + shape_text(tensor.shape));
    }
  }
  report.matched = int64_t(pairs.size());
  COSS_CHECK(complete,
             path + " does not fit the model: of " + std::to_string(wanted.size()) + " tensors, " + report.str());
  for (const auto& [want, tensor] : pairs) write_entry(params, *want->entry, file.read_floats(*tensor));
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
