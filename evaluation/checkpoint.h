// Checkpoint: an open file of weights, and the network that was found in it. The file is opened once and matched once:
// what a command asks of it (facts, numbers, projection head) is answered from here. It holds names, shapes and the
// open file, and of the numbers only those that stand inside a pickle.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "formats/layouts.h"
#include "formats/weights.h"
#include "models/network.h"

namespace coss {

// What a file says of the network that its weights belong to.
struct WeightFacts {
  std::string model;            // the model that was asked for, or its variant that computes as the weights want
  int64_t classes = 0;          // of the file's classifier; 0: it has none
  bool trained = true;          // false: the file says that its classifier was never trained
  Normalization normalization;  // of the images that the weights were trained on
  bool bicubic = false;         // how those images were resized; else bilinear
  std::string note;             // a sentence for the user when `model` is not the one that was asked for; else empty
};

enum class Classifier : uint8_t { required, optional };

class Checkpoint {
 public:
  // Finds `model` in the file, or, if `model` is empty, the largest network of which nothing but the classifier is
  // missing. `from` is a layout (formats/layouts.h) or "auto". Reads names and shapes only. Throws an Error that names
  // the file and what is missing of the model, or the networks that are closest.
  explicit Checkpoint(const std::string& path, const std::string& model = "", const std::string& from = "auto");
  explicit Checkpoint(TensorFile file, const std::string& model = "", const std::string& from = "auto");
  Checkpoint(Checkpoint&&) = default;
  Checkpoint& operator=(Checkpoint&&) = default;
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  const TensorFile& file() const { return file_; }
  const WeightFacts& facts() const { return facts_; }
  // The network's tensors by their names in coss, and where each is in the file. The classifier is optional and of any
  // number of classes.
  const std::vector<WantedTensor>& wanted() const { return wanted_; }
  const LayoutMatch& match() const { return match_; }
  WeightReport report() const { return WeightReport(file_, match_); }

  // Fills the entries of `params` below `scope`, which are those of facts().model with any classifier. A classifier
  // that is required must be in the file, else an Error; one that is optional keeps its values where the file's has
  // another shape, and the report says so. Throws an Error that names tensor and file on numbers that are not finite.
  WeightReport load_into(Params& params, const std::string& scope, Classifier classifier) const;

  // The projection head behind the backbone, with names below it ("0.weight"): where the layout has it, or as
  // `coss convert --keep-heads` writes it. Empty if there is none.
  std::vector<std::pair<std::string, const FileTensor*>> head_tensors() const;

 private:
  TensorFile file_;
  std::vector<WantedTensor> wanted_;
  LayoutMatch match_;
  WeightFacts facts_;
};

// True for the names of a network's classifier ("fc.weight", "classifier.1.bias").
bool is_classifier(const std::string& parameter_name);

}  // namespace coss
