// Finds a network in a file: every possible prefix and spelling of names is tried, and the one that fits most tensors
// wins.
#include "formats/layouts.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "engine/check.h"
#include "engine/text.h"

namespace coss {
namespace {

// What DistributedDataParallel, torch.compile and lightly-train put in front of names.
constexpr const char* kWrappers[] = {"module.",        "_orig_mod.", "wrapped_model.",
                                     "model_wrapper.", "_model.",    "_features."};
constexpr size_t kMostWrappers = 4;  // in one prefix
constexpr size_t kMostPlaces = 256;  // tried in one file

// A place is a prefix of names in a file (`text`), with the container and the prefix of a layout that it is made of.
struct Place {
  std::string text;
  std::string container, prefix;
};

bool starts_with_piece(const std::string& text, const std::string& piece) {
  return text.compare(0, piece.size(), piece) == 0;
}

// True when `part` is in `name` and begins at one of its dots.
bool has_part(const std::string& name, const std::string& part) {
  for (size_t at = name.find(part); at != std::string::npos; at = name.find(part, at + 1)) {
    if (at == 0 || name[at - 1] == '.') return true;
  }
  return false;
}

bool equal_shapes(const std::vector<int64_t>& wanted, const std::vector<int64_t>& shape) {
  return std::equal(wanted.begin(), wanted.end(), shape.begin(), shape.end(),
                    [](int64_t want, int64_t have) { return want == have || want < 0; });
}

std::vector<int64_t> without_ones(const std::vector<int64_t>& shape) {
  const auto many = [](int64_t size) { return size != 1; };
  const auto first = std::find_if(shape.begin(), shape.end(), many);
  return {first, std::find_if(shape.rbegin(), std::make_reverse_iterator(first), many).base()};
}

bool fits(const std::vector<int64_t>& wanted, const std::vector<int64_t>& shape) {
  if (wanted.size() == shape.size()) return equal_shapes(wanted, shape);
  return equal_shapes(without_ones(wanted), without_ones(shape));
}

std::string wanted_text(const WantedTensor& want) {
  std::string text = shape_text(want.shape);
  if (const size_t any = text.find("-1"); any != std::string::npos) text.replace(any, 2, "any");
  return want.name + " " + text;
}

// Every place that some name of the file begins with: container, wrappers, prefix, wrappers.
class Places {
 public:
  explicit Places(const TensorFile& file) {
    for (const FileTensor& tensor : file.tensors()) names_.insert(tensor.name);
    for (const std::string& container : column(&Layout::container)) {
      const std::string start = container.empty() ? "" : container + ".";
      for (const std::string& wrapped : with_wrappers(start)) {
        for (const std::string& prefix : column(&Layout::prefix)) {
          const std::string inner = prefix.empty() ? wrapped : wrapped + prefix + ".";
          if (prefix.empty()) {
            add(wrapped, container, prefix);
          } else {
            for (const std::string& place : with_wrappers(inner)) add(place, container, prefix);
          }
        }
      }
    }
  }
  std::vector<Place> found;

 private:
  // The words of a column of the table, "" first, each once.
  static std::vector<std::string> column(const char* Layout::*member) {
    std::vector<std::string> words{""};
    for (const Layout& layout : layouts()) {
      if (std::find(words.begin(), words.end(), layout.*member) == words.end()) words.emplace_back(layout.*member);
    }
    return words;
  }
  bool used(const std::string& start) const {
    const auto first = names_.lower_bound(start);
    return first != names_.end() && starts_with_piece(*first, start);
  }
  std::vector<std::string> with_wrappers(const std::string& start) const {
    std::vector<std::string> texts;
    if (!used(start)) return texts;
    texts.push_back(start);
    for (size_t depth = 0, at = 0; depth < kMostWrappers; ++depth) {
      const size_t end = texts.size();
      for (; at < end; ++at) {
        for (const char* wrapper : kWrappers) {
          if (used(texts[at] + wrapper)) texts.push_back(texts[at] + wrapper);
        }
      }
    }
    return texts;
  }
  void add(const std::string& text, const std::string& container, const std::string& prefix) {
    if (found.size() < kMostPlaces) found.push_back({text, container, prefix});
  }

  std::set<std::string> names_;
};

// The library that spells names so; "" where more than one does.
const char* library_of(NameRule rule) {
  return rule == NameRule::timm        ? "timm"
         : rule == NameRule::lukemelas ? "lukemelas"
         : rule == NameRule::dli14     ? "d-li14"
                                       : "";
}

// A released file may hold the inner dictionary alone. Without a prefix only "state_dict" may be missing.
bool is_at(const Layout& layout, const Place& place) {
  if (place.prefix != layout.prefix) return false;
  const bool bare = place.container.empty() && (!place.prefix.empty() || layout.container == std::string("state_dict"));
  return bare || place.container == layout.container;
}

// The first line of the table that explains what was found. The same text may be a container or a prefix. A spelling
// identifies the library at any place.
const Layout* line_of(const TensorFile& file, const Places& places, const std::string& text, NameRule rule) {
  const Layout* library = nullptr;
  for (const Layout& layout : layouts()) {
    if (!layout.mark || layout.rule != rule) continue;
    const bool there = std::any_of(places.found.begin(), places.found.end(),
                                   [&](const Place& place) { return place.text == text && is_at(layout, place); });
    const bool marked = layout.mark[0] == '\0' ||
                        std::any_of(file.tensors().begin(), file.tensors().end(),
                                    [&](const FileTensor& tensor) { return has_part(tensor.name, layout.mark); });
    if (there && marked) return &layout;
    if (!library && library_of(rule) == std::string_view(layout.name)) library = &layout;
  }
  return library;
}

void list_unexpected(const TensorFile& file, LayoutMatch& match, const std::set<std::string>& used) {
  for (const FileTensor& tensor : file.tensors()) {
    if (is_batch_counter(tensor.name) || used.count(tensor.name)) continue;
    match.unexpected.push_back(tensor.name + " " + shape_text(tensor.shape));
  }
}

// Fills the tensors, counts and lists of `match`; `named` are those of the file that have the wanted ones' names.
void take(const TensorFile& file, const std::vector<WantedTensor>& wanted, const std::vector<const FileTensor*>& named,
          LayoutMatch& match) {
  std::set<std::string> used;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const WantedTensor& want = wanted[i];
    const FileTensor* tensor = named[i];
    const bool good = tensor && fits(want.shape, tensor->shape);
    match.tensors.push_back(good ? tensor : nullptr);
    match.required += !want.optional;
    match.matched += good;
    match.matched_required += good && !want.optional;
    if (tensor) used.insert(tensor->name);
    if (!tensor) match.missing.push_back(wanted_text(want));
    if (tensor && !good) {
      match.mismatched.push_back(wanted_text(want) + " is " + shape_text(tensor->shape) + " in the file");
    }
  }
  list_unexpected(file, match, used);
}

LayoutMatch collect(const TensorFile& file, const std::vector<WantedTensor>& wanted, const Place& place,
                    NameRule rule) {
  std::vector<const FileTensor*> named;
  for (const WantedTensor& want : spelled(rule, wanted))
    named.push_back(want.name.empty() ? nullptr : file.find(place.text + want.name));
  LayoutMatch match;
  match.prefix = place.text;
  match.rule = rule;
  take(file, wanted, named, match);
  return match;
}

// The last part of a name: "weight", "running_mean".
std::string_view kind_of(const std::string& name) {
  const size_t dot = name.rfind('.');
  return std::string_view(name).substr(dot == std::string::npos ? 0 : dot + 1);
}

// True when the wanted tensors follow each other in `row`, beginning at `first`.
bool stands_at(const std::vector<const FileTensor*>& row, size_t first,
               const std::vector<const WantedTensor*>& wanted) {
  if (row.size() - first < wanted.size()) return false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const FileTensor& tensor = *row[first + i];
    if (!equal_shapes(wanted[i]->shape, tensor.shape) || kind_of(tensor.name) != kind_of(wanted[i]->name)) return false;
  }
  return true;
}

}  // namespace

bool is_batch_counter(const std::string& name) { return kind_of(name) == "num_batches_tracked"; }

std::string LayoutMatch::layout_name() const {
  if (by_order) return "order and shapes";
  return layout ? layout->name : "unlisted";
}

std::string LayoutMatch::names_of() const {
  const char* const library = library_of(rule);
  return library[0] != '\0' ? library : layout_name();
}

const Normalization& LayoutMatch::normalization() const {
  static constexpr Normalization kImagenet{};
  return layout ? layout->normalization : kImagenet;
}

LayoutMatch match_names(const TensorFile& file, const std::vector<WantedTensor>& wanted, const std::string& from) {
  const std::vector<std::string> known = layout_names();
  COSS_CHECK(from == "auto" || std::find(known.begin(), known.end(), from) != known.end(),
             unknown_name("layout", from, known));
  std::pair<int64_t, int64_t> best{-1, -1};
  Place chosen;
  NameRule chosen_rule = NameRule::same;
  const Layout* asked = nullptr;
  const Places places(file);
  for (NameRule rule : kNameRules) {
    std::vector<WantedTensor> names = spelled(rule, wanted);
    std::erase_if(names, [](const WantedTensor& want) { return want.optional || want.name.empty(); });
    if (names.empty() && rule != NameRule::same) continue;
    for (const Place& place : places.found) {
      const Layout* line = nullptr;
      for (const Layout& layout : layouts()) {
        if (!line && from == layout.name && layout.rule == rule && is_at(layout, place)) line = &layout;
      }
      if (from != "auto" && !line) continue;
      std::pair<int64_t, int64_t> score{0, 0};  // how many tensors have the right shape; how many the right name
      for (const WantedTensor& want : names) {
        const FileTensor* tensor = file.find(place.text + want.name);
        score.second += tensor != nullptr;
        score.first += tensor && fits(want.shape, tensor->shape);
      }
      if (score <= best) continue;
      best = score;
      chosen = place;
      chosen_rule = rule;
      asked = line;
    }
  }
  LayoutMatch match = collect(file, wanted, chosen, chosen_rule);
  match.layout = asked ? asked : line_of(file, places, chosen.text, chosen_rule);
  return match;
}

LayoutMatch match_order(const TensorFile& file, const std::vector<WantedTensor>& wanted) {
  LayoutMatch match;
  match.by_order = true;
  match.tensors.resize(wanted.size(), nullptr);
  std::vector<const WantedTensor*> needed;
  std::vector<size_t> needed_at;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].optional) continue;
    needed.push_back(&wanted[i]);
    needed_at.push_back(i);
  }
  match.required = int64_t(needed.size());
  std::vector<const FileTensor*> row;
  for (const FileTensor& tensor : file.tensors()) {
    if (!is_batch_counter(tensor.name)) row.push_back(&tensor);
  }
  std::optional<size_t> first;
  for (size_t at = 0; !needed.empty() && at < row.size(); ++at) {
    if (!stands_at(row, at, needed)) continue;
    if (first) return match;  // it fits twice: nothing tells which one is meant
    first = at;
  }
  if (!first) return match;

  std::set<std::string> used;
  const LayoutMatch named = match_names(file, wanted);
  for (size_t i = 0; i < needed.size(); ++i) {
    const FileTensor* by_name = named.tensors[needed_at[i]];
    if (by_name && by_name != row[*first + i]) return match;
  }
  for (size_t i = 0; i < needed.size(); ++i) {
    match.tensors[needed_at[i]] = row[*first + i];
    used.insert(row[*first + i]->name);
  }
  match.matched = match.matched_required = match.required;
  // Optional tensors (a classifier) follow the others, or are left out.
  size_t next = *first + needed.size();
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i].optional) continue;
    if (next < row.size() && stands_at(row, next, {&wanted[i]})) {
      match.tensors[i] = row[next];
      used.insert(row[next++]->name);
      ++match.matched;
    } else {
      match.missing.push_back(wanted_text(wanted[i]));
    }
  }
  list_unexpected(file, match, used);
  return match;
}

LayoutMatch match_layout(const TensorFile& file, const std::vector<WantedTensor>& wanted, const std::string& from) {
  LayoutMatch named = match_names(file, wanted, from);
  if (named.complete() || from != "auto") return named;
  LayoutMatch ordered = match_order(file, wanted);
  return ordered.matched > 0 ? ordered : named;
}

LayoutMatch rematch(const TensorFile& file, const LayoutMatch& match, const std::vector<WantedTensor>& before,
                    const std::vector<WantedTensor>& now) {
  std::map<std::string, const FileTensor*> found;
  for (size_t i = 0; i < before.size(); ++i) found[before[i].name] = match.tensors[i];
  std::vector<const FileTensor*> named;
  for (const WantedTensor& want : now) {
    const auto at = found.find(want.name);
    named.push_back(at == found.end() ? nullptr : at->second);
  }
  LayoutMatch again;
  again.layout = match.layout;
  again.by_order = match.by_order;
  again.rule = match.rule;
  again.prefix = match.prefix;
  take(file, now, named, again);
  return again;
}

std::vector<std::pair<std::string, const FileTensor*>> head_tensors(const TensorFile& file, const LayoutMatch& match) {
  std::vector<std::pair<std::string, const FileTensor*>> found;
  if (!match.layout || match.layout->head[0] == '\0') return found;
  // Looks from the backbone outwards: "teacher.module.backbone.", "teacher.module.", "teacher.", "".
  for (std::string parent = match.prefix;;) {
    const std::string start = parent + match.layout->head + ".";
    for (const FileTensor& tensor : file.tensors()) {
      if (starts_with_piece(tensor.name, start)) found.emplace_back(tensor.name.substr(start.size()), &tensor);
    }
    if (!found.empty() || parent.empty()) return found;
    const size_t dot = parent.size() < 2 ? std::string::npos : parent.rfind('.', parent.size() - 2);
    parent = dot == std::string::npos ? "" : parent.substr(0, dot + 1);
  }
}

}  // namespace coss
