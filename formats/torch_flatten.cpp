// From the object of a checkpoint, dictionaries in dictionaries, to a flat list of named tensors.
#include <vector>

#include "formats/torch_objects.h"

namespace coss {
namespace {

constexpr int kDeepest = 64;
constexpr size_t kLongestName = 4096;
constexpr size_t kMostNames = 64 << 20;  // bytes of all names
constexpr int64_t kMostVisits = 4'000'000;
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

  const PickleHeap& heap_;
  const std::vector<FileTensor>& tensors_;
  std::map<std::string, std::string>& metadata_;
  std::vector<PickleRef> path_;  // the containers that are open, to leave out what contains itself
  int64_t visits_ = 0;
  size_t names_ = 0;
};

void Flattener::visit(PickleRef ref, const std::string& name, int depth) {
  const PickleValue& value = heap_[ref];
  if (++visits_ > kMostVisits) heap_.fail("the pickle's containers hold each other too often");
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
      for (PickleRef open : path_) {
        if (open == ref) return;
      }
      if (depth >= kDeepest) heap_.fail("the pickle's containers are nested too deeply");
      path_.push_back(ref);
      visit_items(value, name, depth);
      path_.pop_back();
      return;
    default:
      if (depth <= kMetadataDepth && !name.empty()) keep_metadata(value, name);
  }
}

void Flattener::visit_items(const PickleValue& value, const std::string& name, int depth) {
  const bool dict = value.kind == PickleKind::dict;
  const size_t step = dict ? 2 : 1;
  for (size_t i = 0; i + step <= value.items.size(); i += step) {
    const PickleRef item = value.items[i + step - 1];
    const PickleKind kind = heap_[item].kind;
    const bool holds = kind == PickleKind::tensor || kind == PickleKind::dict || kind == PickleKind::list ||
                       kind == PickleKind::tuple || kind == PickleKind::set;
    if (!holds && !dict) continue;
    const std::string key = dict ? key_text(value.items[i], i / 2) : std::to_string(i);
    if (name.size() + key.size() > kLongestName) heap_.fail("the name of a tensor is too long");
    visit(item, name.empty() ? key : name + "." + key, depth + 1);
  }
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
