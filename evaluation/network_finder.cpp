// Every model is tried: their parameters are counted, never allocated, so that this costs milliseconds.
#include "evaluation/network_finder.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/check.h"
#include "evaluation/loaded_network.h"
#include "formats/weights.h"

namespace coss {
namespace {

std::vector<WantedTensor> wanted_by(const ModelInfo& model) {
  Params params;
  const auto network = model.make(Scope(params, "network"), model.classes);
  std::vector<WantedTensor> wanted = wanted_tensors(params, "network", is_classifier);
  for (WantedTensor& want : wanted) {
    if (want.optional && want.shape[0] == model.classes) want.shape[0] = -1;
  }
  return wanted;
}

// What a file says of itself; "" when it says nothing.
std::string own_word(const TensorFile& file) {
  const auto said = file.metadata().find("model");
  return said == file.metadata().end() ? "" : said->second;
}

// Among models of the same tensors the file's own word decides, else whose spelling and container it has.
const ModelInfo& variant_of(const TensorFile& file, const ModelInfo& model, const LayoutMatch& match) {
  return own_word(file) == model.name ? model : find_model(variant_for(model.name, match.names_of()));
}

// Of two that are complete the one of which more is found: a ResNet-34 holds all that a ResNet-18 wants.
FoundNetwork* best_of(const TensorFile& file, std::vector<FoundNetwork>& candidates) {
  FoundNetwork* best = nullptr;
  const std::string said = own_word(file);
  for (FoundNetwork& found : candidates) {
    if (!found.match.complete()) continue;
    const int64_t more = best ? found.match.matched_required - best->match.matched_required : 1;
    if (more > 0 || (more == 0 && said == found.model->name)) best = &found;
  }
  return best;
}

// Sorts them.
std::string closest_of(std::vector<FoundNetwork>& candidates) {
  const auto fit = [](const FoundNetwork& found) {
    return double(found.match.matched_required) / double(std::max<int64_t>(found.match.required, 1));
  };
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const FoundNetwork& a, const FoundNetwork& b) { return fit(a) > fit(b); });
  std::string closest;
  for (size_t i = 0; i < std::min<size_t>(candidates.size(), 3); ++i) {
    const LayoutMatch& match = candidates[i].match;
    if (match.matched_required == 0) break;
    closest += fmt::format("{}{} ({} of {} tensors fit)", i ? ", " : "", candidates[i].model->name,
                           match.matched_required, match.required);
  }
  return closest;
}

FoundNetwork find_any(const TensorFile& file, const std::string& from) {
  std::vector<FoundNetwork> candidates;
  for (const ModelInfo& model : models()) {
    std::vector<WantedTensor> wanted = wanted_by(model);
    LayoutMatch match = match_names(file, wanted, from);
    candidates.push_back({&model, std::move(wanted), std::move(match)});
  }
  FoundNetwork* best = best_of(file, candidates);
  std::string closest;
  if (!best) {
    closest = closest_of(candidates);
    if (from == "auto") {
      for (FoundNetwork& found : candidates) found.match = match_order(file, found.wanted);
      best = best_of(file, candidates);
    }
  }
  if (best) {
    best->model = &variant_of(file, *best->model, best->match);
    return std::move(*best);
  }
  const std::string message = file.path() + " holds no network that coss knows";
  COSS_CHECK(!closest.empty(), message + ": none of its tensors fits any ('coss inspect' lists them)");
  throw Error(message + "; the closest are " + closest + ". Name one with --model to see what is missing");
}

}  // namespace

FoundNetwork find_network(const TensorFile& file, const std::string& model, const std::string& from) {
  if (model.empty()) return find_any(file, from);
  const ModelInfo& asked = find_model(model);
  std::vector<WantedTensor> wanted = wanted_by(asked);
  LayoutMatch match = match_layout(file, wanted, from);
  COSS_CHECK(match.complete(),
             fmt::format("{} does not hold a {}: {}", file.path(), asked.name, WeightReport(file, match).str()));
  const ModelInfo& variant = variant_of(file, asked, match);
  return {&variant, std::move(wanted), std::move(match)};
}

}  // namespace coss
