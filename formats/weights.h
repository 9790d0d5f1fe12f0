// Weights: between tensor files, with PyTorch's names and layout, and Params, with the engine's.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "formats/layouts.h"
#include "formats/safetensors.h"
#include "layers/params.h"

namespace coss {

struct WeightReport {
  WeightReport(const TensorFile& file, const LayoutMatch& match);

  std::string container;
  std::string layout;           // as the table of layouts names it
  std::string stripped_prefix;  // "state_dict.module."
  Normalization normalization;  // of the images of the training, from the file or its layout; else ImageNet's
  int64_t matched = 0;
  std::vector<std::string> missing, unexpected, mismatched;
  std::string str() const;
};

// "0.485,0.456,0.406": the form of the metadata image_mean and image_stddev in files that coss writes.
std::string channels_text(const float (&values)[3]);

// The tensors that a scope of `params` wants from a file. `params` need not be allocated.
std::vector<WantedTensor> wanted_tensors(const Params& params, const std::string& scope,
                                         const std::function<bool(const std::string&)>& optional);

// Fills the entries of `params` whose name starts with `scope` + "." (an empty scope is all of them; the scope is not
// part of the file's names) with the tensors of `match`, which was made for wanted_tensors(params, scope, …). A missing
// or mismatched tensor is an Error that lists names and shapes, and nothing is loaded. An optional entry that is
// missing keeps its value, and the report names it.
WeightReport load_weights(const TensorFile& file, const LayoutMatch& match, Params& params, const std::string& scope);

// Fills all of `params` (except counters of batches) from tensors with their names, as head_tensors() returns them. A
// missing tensor, or one of another shape, is an Error.
void load_tensors(const TensorFile& file, const std::vector<std::pair<std::string, const FileTensor*>>& tensors,
                  Params& params);

// The entries of a scope as fp32 in PyTorch's layout, and an i64 scalar num_batches_tracked beside every running_mean.
std::vector<NamedTensor> weights_as_tensors(Params& params, const std::string& scope);
// The same as a safetensors file, which torch's load_state_dict(strict=True) takes as it is.
void save_weights(const std::string& path, Params& params, const std::string& scope,
                  const std::map<std::string, std::string>& metadata);

}  // namespace coss
