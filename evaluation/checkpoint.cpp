// Finding the network: models are built without memory for their parameters, so that trying every one takes
// milliseconds.
#include "evaluation/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/check.h"

namespace coss {
namespace {

constexpr const char* kClassifierPrefixes[] = {"fc.", "linear.", "classifier.", "head.weight", "head.bias"};

// A model and what a file has of it.
struct Candidate {
  const ModelInfo* model = nullptr;
  std::vector<WantedTensor> wanted;
  LayoutMatch match;
};

// The file's own word on something; empty if it says nothing.
std::string own_word(const TensorFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? "" : found->second;
}

// All tensors of a model. The classifier is optional and of any number of classes; a model that is published without
// one may have got one in training.
std::vector<WantedTensor> wanted_of(const ModelInfo& model) {
  const int64_t classes = std::max<int64_t>(model.classes, 1);
  Params params;
  const auto network = model.make(Scope(params), classes);
  std::vector<WantedTensor> wanted = wanted_tensors(params, "", is_classifier);
  for (WantedTensor& want : wanted)
    if (want.optional && want.shape[0] == classes) want.shape[0] = -1;
  return wanted;
}

// Of two models that are complete the one of which more is found: a ResNet-34 holds all that a ResNet-18 wants. Null if
// no model is complete.
Candidate* best_of(const TensorFile& file, std::vector<Candidate>& candidates) {
  Candidate* best = nullptr;
  const std::string said = own_word(file, "model");
  for (Candidate& candidate : candidates) {
    if (!candidate.match.complete()) continue;
    const int64_t more = best ? candidate.match.matched_required - best->match.matched_required : 1;
    if (more > 0 || (more == 0 && said == candidate.model->name)) best = &candidate;
  }
  return best;
}

// The three models of which most is found, in words; empty if nothing is found of any. Sorts the candidates.
std::string closest_of(std::vector<Candidate>& candidates) {
  const auto fit = [](const Candidate& candidate) {
    return double(candidate.match.matched_required) / double(std::max<int64_t>(candidate.match.required, 1));
  };
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const Candidate& a, const Candidate& b) { return fit(a) > fit(b); });
  std::string closest;
  for (size_t i = 0; i < std::min<size_t>(candidates.size(), 3); ++i) {
    const LayoutMatch& match = candidates[i].match;
    if (match.matched_required == 0) break;
    closest += fmt::format("{}{} ({} of {} tensors fit)", i ? ", " : "", candidates[i].model->name,
                           match.matched_required, match.required);
  }
  return closest;
}

Candidate find_any(const TensorFile& file, const std::string& from) {
  std::vector<Candidate> candidates;
  for (const ModelInfo& model : models()) {
    std::vector<WantedTensor> wanted = wanted_of(model);
    LayoutMatch match = match_names(file, wanted, from);
    candidates.push_back({&model, std::move(wanted), std::move(match)});
  }
  if (Candidate* best = best_of(file, candidates)) return std::move(*best);
  const std::string closest = closest_of(candidates);
  if (from == "auto") {
    for (Candidate& candidate : candidates) candidate.match = match_order(file, candidate.wanted);
    if (Candidate* best = best_of(file, candidates)) return std::move(*best);
  }
  const std::string message = file.path() + " holds no network that coss knows";
  COSS_CHECK(!closest.empty(), message + ": none of its tensors fits any ('coss inspect' lists them)");
  throw Error(message + "; the closest are " + closest + ". Name one with --model to see what is missing");
}

Candidate find_model_in(const TensorFile& file, const std::string& name, const std::string& from) {
  const ModelInfo& model = find_model(name);
  std::vector<WantedTensor> wanted = wanted_of(model);
  LayoutMatch match = match_layout(file, wanted, from);
  COSS_CHECK(match.complete(),
             fmt::format("{} does not hold a {}: {}", file.path(), name, WeightReport(file, match).str()));
  return {&model, std::move(wanted), std::move(match)};
}

bool is_variant(const std::string& model, const std::string& other) {
  return std::any_of(models().begin(), models().end(),
                     [&](const ModelInfo& row) { return other == row.name && model == row.variant_of.model; });
}

// Among models of the same tensors the file's own word decides, else the library whose names or layout it has.
std::string variant_of(const TensorFile& file, const std::string& model, const LayoutMatch& match) {
  const std::string said = own_word(file, "model");
  if (said == model || is_variant(model, said)) return said;
  return variant_for(model, match.names_of());
}

// True where the file has the layout's projection head in the classifier's place.
bool is_head(const LayoutMatch& match, const FileTensor& tensor) {
  return match.layout && match.layout->head[0] != '\0' &&
         tensor.name.starts_with(match.prefix + match.layout->head + ".");
}

// Leaves out a classifier that is none: a projection head, or one that neither the model nor the file has.
void drop_classifier(const TensorFile& file, Candidate& found) {
  std::vector<WantedTensor> rest;
  for (size_t i = 0; i < found.wanted.size(); ++i) {
    const FileTensor* tensor = found.match.tensors[i];
    const bool none = tensor ? is_head(found.match, *tensor) : found.model->classes == 0;
    if (!found.wanted[i].optional || !none) rest.push_back(found.wanted[i]);
  }
  if (rest.size() == found.wanted.size()) return;
  found.match = rematch(file, found.match, found.wanted, rest);
  found.wanted = std::move(rest);
}

int64_t classes_of(const std::vector<WantedTensor>& wanted, const LayoutMatch& match) {
  for (size_t i = 0; i < wanted.size(); ++i)
    if (match.tensors[i] && wanted[i].shape.size() >= 2 && wanted[i].shape[0] < 0) return match.tensors[i]->shape[0];
  return 0;
}

}  // namespace

Checkpoint::Checkpoint(const std::string& path, const std::string& model, const std::string& from)
    : Checkpoint(open_tensor_file(path), model, from) {}

Checkpoint::Checkpoint(TensorFile file, const std::string& model, const std::string& from) : file_(std::move(file)) {
  Candidate found = model.empty() ? find_any(file_, from) : find_model_in(file_, model, from);
  drop_classifier(file_, found);
  wanted_ = std::move(found.wanted);
  match_ = std::move(found.match);

  facts_.model = variant_of(file_, found.model->name, match_);
  facts_.classes = classes_of(wanted_, match_);
  facts_.trained = own_word(file_, "classifier") != "untrained";
  facts_.normalization = report().normalization;
  const std::string said = own_word(file_, "interpolation");
  facts_.bicubic = (said.empty() && match_.layout ? match_.layout->interpolation : said) == "bicubic";
  if (!model.empty() && facts_.model != model)
    facts_.note = fmt::format("the weights are those of a {}, which is built instead of {}", facts_.model, model);
}

WeightReport Checkpoint::load_into(Params& params, const std::string& scope, Classifier classifier) const {
  const auto optional = [&](const std::string& name) {
    return classifier == Classifier::optional && is_classifier(name);
  };
  const LayoutMatch match = rematch(file_, match_, wanted_, wanted_tensors(params, scope, optional));
  return load_weights(file_, match, params, scope);
}

std::vector<std::pair<std::string, const FileTensor*>> Checkpoint::head_tensors() const {
  constexpr char kOwn[] = "head.";
  auto tensors = coss::head_tensors(file_, match_);
  if (!tensors.empty() || own_word(file_, "model").empty()) return tensors;
  for (const FileTensor& tensor : file_.tensors()) {
    const bool in_network = std::find(match_.tensors.begin(), match_.tensors.end(), &tensor) != match_.tensors.end();
    if (tensor.name.starts_with(kOwn) && !in_network)
      tensors.emplace_back(tensor.name.substr(sizeof(kOwn) - 1), &tensor);
  }
  return tensors;
}

bool is_classifier(const std::string& parameter_name) {
  return std::any_of(std::begin(kClassifierPrefixes), std::end(kClassifierPrefixes),
                     [&](const char* prefix) { return parameter_name.starts_with(prefix); });
}

}  // namespace coss
