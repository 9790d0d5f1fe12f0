// Turns the object of a checkpoint, which is nested dictionaries and modules, into a flat list of named tensors.
#include <algorithm>
#include <array>
#include <vector>

#include "formats/torch_objects.h"

namespace coss {
namespace {

constexpr int kDeepestNesting = 64;
constexpr size_t kLongestName = 4096;
constexpr size_t kMostNames = 64 << 20;  // bytes of all names
constexpr int64_t kMostVisits = 20'000'000;
constexpr size_t kMostMetadata = 512, kLongestMetadata = 1024;
constexpr int kMetadataDepth = 2;

class Flattener {
 public:
  Flattener(const PickleHeap& heap, const std::vector<FileTensor>& tensors,
            std::map<std::string, std::string>& metadata)
      : heap_(heap), tensors_(tensors), metadata_(metadata) {}

  void visit(PickleRef ref, const std::string& name, int depth);
  std::vector<FileTensor> found;

 private:
  std::string key_text(PickleRef key, size_t position) const;
  void keep_metadata(const PickleValue& value, const std::string& name);
  void visit_items(const PickleValue& value, const std::string& name, int depth);
  void visit_bag(const PickleValue& bag, const std::string& name, int depth);
  void visit_item(PickleRef item, const std::string& name, const std::string& key, int depth);
  const PickleValue* attribute(const PickleValue& bag, const char* name) const;
  bool holds_more(PickleRef ref) const;
  void count_visits(size_t items);

  const PickleHeap& heap_;
  const std::vector<FileTensor>& tensors_;
  std::map<std::string, std::string>& metadata_;
  std::vector<PickleRef> path_;  // the containers around the current item, to leave out one that contains itself
  int bags_open_ = 0;
  int64_t visits_ = 0;
  size_t names_ = 0;
};

void Flattener::visit(PickleRef ref, const std::string& name, int depth) {
  const PickleValue& value = heap_[ref];
  count_visits(1);
  switch (value.kind) {
    case PickleKind::tensor: {
      names_ += name.size();
      if (names_ > kMostNames) heap_.fail("the names of the tensors are too long");
      FileTensor tensor = tensors_[size_t(value.integer)];
      tensor.name = name.empty() ? "tensor" : name;
      found.push_back(std::move(tensor));
      return;
    }
    case PickleKind::dict:
    case PickleKind::list:
    case PickleKind::tuple:
    case PickleKind::set:
    case PickleKind::bag:
      for (PickleRef open : path_) {
        if (open == ref) return;
      }
      if (depth >= kDeepestNesting) heap_.fail("the pickle's containers are nested too deeply");
      path_.push_back(ref);
      if (value.kind == PickleKind::bag) {
        ++bags_open_;
        visit_bag(value, name, depth);
        --bags_open_;
      } else {
        visit_items(value, name, depth);
      }
      path_.pop_back();
      return;
    default:
      if (depth <= kMetadataDepth && !name.empty()) keep_metadata(value, name);
  }
}

void Flattener::visit_items(const PickleValue& value, const std::string& name, int depth) {
  const bool dict = value.kind == PickleKind::dict;
  count_visits(value.items.size());
  const size_t step = dict ? 2 : 1;
  for (size_t i = 0; i + step <= value.items.size(); i += step) {
    const PickleRef item = value.items[i + step - 1];
    if (!dict && !holds_more(item)) continue;
    visit_item(item, name, dict ? key_text(value.items[i], i / 2) : std::to_string(i), depth + 1);
  }
}

void Flattener::visit_item(PickleRef item, const std::string& name, const std::string& key, int depth) {
  if (name.size() + key.size() > kLongestName) heap_.fail("the name of a tensor is too long");
  visit(item, name.empty() ? key : name + "." + key, depth);
}

// A Python module's state_dict() is its parameters, its persistent buffers and its modules. A TorchScript object, or
// one that is no module, has its tensors among its attributes. Numbers and texts of the outermost object are metadata.
void Flattener::visit_bag(const PickleValue& bag, const std::string& name, int depth) {
  count_visits(bag.items.size());
  const PickleValue* const modules = attribute(bag, "_modules");
  const PickleValue* const buffers = attribute(bag, "_buffers");
  const bool module = modules && modules->kind == PickleKind::dict && buffers && buffers->kind == PickleKind::dict;
  for (size_t i = 0; i + 2 <= bag.items.size(); i += 2) {
    const PickleRef item = bag.items[i + 1];
    const PickleKind kind = heap_[item].kind;
    const bool scalar = kind == PickleKind::integer || kind == PickleKind::real || kind == PickleKind::text;
    const bool wanted = holds_more(item) ? !module : scalar && bags_open_ == 1;
    const std::string key = wanted ? key_text(bag.items[i], i / 2) : std::string();
    // A name that begins with an underscore is internal to the library.
    if (wanted && (holds_more(item) || !key.starts_with("_"))) visit_item(item, name, key, depth + 1);
  }
  if (!module) return;
  if (const PickleValue* parameters = attribute(bag, "_parameters")) visit_items(*parameters, name, depth);
  const PickleValue* const transient = attribute(bag, "_non_persistent_buffers_set");
  count_visits(buffers->items.size() * (transient ? transient->items.size() + 1 : 1));
  for (size_t i = 0; i + 2 <= buffers->items.size(); i += 2) {
    const std::string key = key_text(buffers->items[i], i / 2);
    const auto names_it = [&](PickleRef ref) { return heap_[ref].kind == PickleKind::text && heap_[ref].text == key; };
    if (transient && std::any_of(transient->items.begin(), transient->items.end(), names_it)) continue;
    visit_item(buffers->items[i + 1], name, key, depth + 1);
  }
  visit_items(*modules, name, depth);
}

// The last one counts, as if the attributes were set one after another.
const PickleValue* Flattener::attribute(const PickleValue& bag, const char* name) const {
  const PickleValue* found_value = nullptr;
  for (size_t i = 0; i + 2 <= bag.items.size(); i += 2) {
    const PickleValue& key = heap_[bag.items[i]];
    if (key.kind == PickleKind::text && key.text == name) found_value = &heap_[bag.items[i + 1]];
  }
  return found_value;
}

bool Flattener::holds_more(PickleRef ref) const {
  constexpr std::array kHolders = {PickleKind::tensor, PickleKind::dict, PickleKind::list,
                                   PickleKind::tuple,  PickleKind::set,  PickleKind::bag};
  return std::find(kHolders.begin(), kHolders.end(), heap_[ref].kind) != kHolders.end();
}

void Flattener::count_visits(size_t items) {
  visits_ += int64_t(items);
  if (visits_ > kMostVisits) heap_.fail("the pickle's containers hold each other too often");
}

std::string Flattener::key_text(PickleRef key, size_t position) const {
  const PickleValue& value = heap_[key];
  if (value.kind == PickleKind::text) return value.text;
  if (value.kind == PickleKind::integer) return std::to_string(value.integer);
  return "[" + std::to_string(position) + "]";
}

void Flattener::keep_metadata(const PickleValue& value, const std::string& name) {
  if (metadata_.size() >= kMostMetadata) return;
  if (value.kind == PickleKind::text && value.text.size() <= kLongestMetadata) metadata_[name] = value.text;
  if (value.kind == PickleKind::integer) metadata_[name] = std::to_string(value.integer);
  if (value.kind == PickleKind::real) metadata_[name] = std::to_string(value.real);
  if (value.kind == PickleKind::boolean) metadata_[name] = value.integer ? "true" : "false";
}

}  // namespace

std::vector<FileTensor> TorchObjects::flatten(const PickleHeap& heap, PickleRef root,
                                              std::map<std::string, std::string>& metadata) const {
  Flattener flattener(heap, tensors_, metadata);
  flattener.visit(root, "", 0);
  return std::move(flattener.found);
}

}  // namespace coss
