// Layouts: where published checkpoints keep a network and under which names, and how to find a wanted network in them.
#pragma once
#include <string>
#include <vector>

#include "engine/kernel_params.h"
#include "formats/name_rules.h"
#include "formats/tensor_file.h"

namespace coss {

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
  Normalization normalization = {};  // of the images that the weights were trained on
  const char* interpolation = "";    // of their resizing, where it is not bilinear
};

// The visible table. Of lines that fit equally well the first wins.
const std::vector<Layout>& layouts();
std::vector<std::string> layout_names();  // without repetition

struct LayoutMatch {
  const Layout* layout = nullptr;  // null when the names fit but no line of the table knows them
  bool by_order = false;           // the names say nothing; order and shapes fit
  NameRule rule = NameRule::same;
  std::string prefix;  // in front of all names: "state_dict.module.encoder_q."
  // Of the file, one for each wanted; null where there is none of that shape. Ones at a shape's ends do not count: a
  // linear layer is a 1x1 convolution elsewhere.
  std::vector<const FileTensor*> tensors;
  int64_t matched = 0, required = 0;  // tensors; those that are wanted and not optional
  int64_t matched_required = 0;
  std::vector<std::string> missing, mismatched, unexpected;  // with shapes; running counters are never unexpected

  bool complete() const { return matched_required == required; }
  std::string layout_name() const;
  // Whose network the weights are of (variant_for of models/network.h): of the library that spells names so, whoever
  // trained it; else the layout's name.
  std::string names_of() const;
  const Normalization& normalization() const;  // ImageNet's where the layout says nothing else
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

// `match` was made for `before` and stands for `now`: the same tensors, but for some that are left out, that are new
// (and so missing), or of another shape. For a network whose classifier is not the file's.
LayoutMatch rematch(const TensorFile& file, const LayoutMatch& match, const std::vector<WantedTensor>& before,
                    const std::vector<WantedTensor>& now);

// The tensors of the layout's projection head, with their names below it ("0.weight").
std::vector<std::pair<std::string, const FileTensor*>> head_tensors(const TensorFile& file, const LayoutMatch& match);

// "num_batches_tracked", which older files lack and nothing here needs.
bool is_batch_counter(const std::string& name);

}  // namespace coss
