// Layouts: where published checkpoints keep a network and under which names, and how to find a wanted network in them.
#pragma once
#include <string>
#include <vector>

#include "engine/kernel_params.h"
#include "formats/name_rules.h"
#include "formats/tensor_file.h"

namespace coss {

// One kind of published checkpoint. A name begins with the container, then the prefix. "module" and "_orig_mod" may
// stand between and after them, any number of times.
struct Layout {
  const char* name;       // the name that --from takes; several lines may share one
  const char* source;     // who writes such files
  const char* container;  // key of the dictionary that holds the weights; a file with that dictionary alone fits too
  const char* prefix;     // the module that holds the backbone
  const char* head;       // the projection head: in the backbone, beside it, or beside one of its parents; "" for none
  const char* mark;  // part of a name that only this layout has; "" for any; null: nothing identifies it, only --from
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
  // The file's tensor for each wanted one; null where none has that shape. Dimensions of 1 at the ends of a shape are
  // ignored: a linear layer is a 1x1 convolution in some libraries.
  std::vector<const FileTensor*> tensors;
  int64_t matched = 0, required = 0;  // counts of tensors; required: wanted and not optional
  int64_t matched_required = 0;
  std::vector<std::string> missing, mismatched, unexpected;  // with shapes; running counters are never unexpected

  bool complete() const { return matched_required == required; }
  std::string layout_name() const;
  // The library whose variant of the network the weights need (variant_for of models/network.h): the one that spells
  // names so, else the layout's name.
  std::string names_of() const;
  const Normalization& normalization() const;  // ImageNet's where the layout gives none
};

// The prefix and spelling of names under which most of the wanted tensors are found. `from` is "auto" or a layout's
// name.
LayoutMatch match_names(const TensorFile& file, const std::vector<WantedTensor>& wanted,
                        const std::string& from = "auto");
// The last resort: finds the same sequence of shapes and kinds (weight, bias, …) in the file, under any names. It
// counts only when it occurs once and no name contradicts it; else nothing is matched.
LayoutMatch match_order(const TensorFile& file, const std::vector<WantedTensor>& wanted);
// Matches by names, else by order. When neither is complete, it returns the match by names.
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
