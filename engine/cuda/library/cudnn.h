// cuDNN 9 as this backend uses it: opened at run time, so that a program built with it starts without it, and the plan
// of each convolution, chosen on first use by measuring candidates on the real tensors.
//
// The choices are kept in a file (plan_file.h), from which later runs, also resumed ones, take them. With
// COSS_NO_AUTOTUNE=1 nothing is measured, read or kept: the first choice of cuDNN's heuristics is taken.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/context.h"
#include "engine/cuda/library/attention_cudnn.h"
#include "engine/cuda/library/conv_key.h"
#include "engine/cuda/library/cudnn_graph.h"
#include "engine/cuda/library/plan_file.h"

namespace coss::cuda {

class State;

// cuDNN's version, "9.19.0", or what is missing. Throws nothing.
std::string cudnn_version();
// Throws Error in one line when there is no cuDNN that can be used.
void open_cudnn();

struct ConvPlan {
  ConvWay way;
  std::shared_ptr<ConvGraph> graph;  // null: Route::product
  size_t index = 0;                  // into the graph's configurations
  size_t workspace = 0;              // bytes that cuDNN needs; the way may need more besides
};

// The ways to try for a convolution, in groups. A later group is tried only when no earlier one has a plan.
std::vector<std::vector<ConvWay>> conv_ways(const ConvKey& key);
// The plans that are worth measuring: of each way the heuristics' first few that can be built; or only the very first.
std::vector<ConvPlan> conv_candidates(const ConvGraph::Target& target, const ConvKey& key, bool first_only,
                                      std::string& problem);

class Cudnn {
 public:
  explicit Cudnn(State& state);
  ~Cudnn();
  Cudnn(const Cudnn&) = delete;
  Cudnn& operator=(const Cudnn&) = delete;

  cudnnContext* handle() const { return handle_; }
  AttentionPlans& attention() { return attention_; }

  // The plan of a convolution that was chosen before, or null.
  const ConvPlan* find(const ConvKey& key) const {
    const auto found = plans_.find(key);
    return found == plans_.end() ? nullptr : &found->second;
  }
  // Chooses the plan of a new convolution. `run` computes it with a candidate; it may write outputs, but not tensors to
  // which the computation adds. Throws Error while a step is being recorded, and when there is no plan.
  const ConvPlan& choose(Context& ctx, const ConvKey& key, const std::function<void(const ConvPlan&)>& run);

 private:
  bool recall(const ConvKey& key, ConvPlan& plan) const;
  size_t fastest(const std::vector<ConvPlan>& candidates, const std::function<void(const ConvPlan&)>& run) const;
  float time(const ConvPlan& plan, const std::function<void(const ConvPlan&)>& run, float enough) const;

  State& state_;
  cudnnContext* handle_ = nullptr;
  bool measures_;
  PlanFile file_;
  std::unordered_map<ConvKey, ConvPlan, ConvKeyHash> plans_;  // plans stay: recorded steps run their code
  AttentionPlans attention_;
};

}  // namespace coss::cuda
