// Layouts: where published checkpoints keep a network and under which names, and how to find a wanted network in them.
#pragma once
#include <string>
#include <vector>

#include "engine/kernel_params.h"
#include "formats/tensor_file.h"

namespace coss {

// How a layout spells the names of a network's parameters.
enum class NameRule : uint8_t {
  same,             // as torchvision: layer1.0.conv1.weight
  children,         // a Sequential of torchvision's children: 4.0.conv1.weight
  simclr_v2,        // net.1.blocks.0.net.0.weight
  timm_mobilenet2,  // blocks.0.0.conv_dw.weight for features.1.conv.0.0.weight
};

// One kind of published checkpoint. In front of a name stand the container, then the prefix; "module" and "_orig_mod"
// may stand between and after them as often as they like.
struct Layout {
  const char* name;       // as --from has it; several lines may share one
  const char* source;     // who writes such files
  const char* container;  // key of the dictionary that holds the weights; a bare dictionary does as well
  const char* prefix;     // the module that holds the backbone
  const char* head;       // the projection head: below the backbone or beside it or one of its parents; "" for none
  const char* mark;  // part of a name that only this layout has; "" for any; null: nothing tells, must be asked for
  NameRule rule = NameRule::same;
  Normalisation normalisation = {};  // of the images that the weights were trained on
};

// The visible table. Of lines that fit equally well the first wins.
const std::vector<Layout>& layouts();
std::vector<std::string> layout_names();  // without repetition

// A tensor of the network, by its name and shape in PyTorch. A size of -1 may be any (the classes of a classifier).
struct WantedTensor {
  std::string name;
  std::vector<int64_t> shape;
  bool optional = false;
};

struct LayoutMatch {
  const Layout* layout = nullptr;          // null when the names fit but no line of the table knows them
  bool by_order = false;                   // the names say nothing; order and shapes fit
  std::string prefix;                      // in front of all names: "state_dict.module.encoder_q."
  std::vector<const FileTensor*> tensors;  // of the file, one for each wanted; null where there is none of that shape
  int64_t matched = 0, required = 0;       // tensors; those that are wanted and not optional
  int64_t matched_required = 0;
  std::vector<std::string> missing, mismatched, unexpected;  // with shapes; running counters are never unexpected

  bool complete() const { return matched_required == required; }
  std::string layout_name() const;
  const Normalisation& normalisation() const;  // ImageNet's where the layout says nothing else
};

// The place and spelling under which most of the wanted tensors are found. `from` is "auto" or a layout's name.
LayoutMatch match_names(const TensorFile& file, const std::vector<WantedTensor>& wanted,
                        const std::string& from = "auto");
// The last resort: the same sequence of shapes and kinds (weight, bias, …) somewhere in the file, under any names. It
// counts only when there is one such place, and when no name contradicts it; else nothing is matched.
LayoutMatch match_order(const TensorFile& file, const std::vector<WantedTensor>& wanted);
// By names, else by order; what comes of the names when neither is complete.
LayoutMatch match_layout(const TensorFile& file, const std::vector<WantedTensor>& wanted,
                         const std::string& from = "auto");

// The tensors of the layout's projection head, with their names below it ("0.weight").
std::vector<std::pair<std::string, const FileTensor*>> head_tensors(const TensorFile& file, const LayoutMatch& match);

// "num_batches_tracked", which older files lack and nothing here needs.
bool is_batch_counter(const std::string& name);

}  // namespace coss
