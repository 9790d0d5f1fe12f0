// cuDNN's fused attention: plans of one shape each, for a GPU or, to check them, for one that is only described.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <string>

#include "engine/cuda/attention.h"
#include "engine/cuda/library/cudnn_graph.h"

namespace coss::cuda {

// The addresses of an attention's tensors; backward has all, forward none of the gradients.
struct AttentionPointers {
  const void* qkv = nullptr;
  void *y = nullptr, *lse = nullptr;
  const void* dy = nullptr;
  void* dqkv = nullptr;
};

class AttentionPlan {
 public:
  // The heuristics' first engine whose results do not differ from run to run; null when there is none that can be
  // built, `problem` says why. Engines compiled at run time cannot be built for a GPU that is not there: `build` false
  // leaves that out.
  static std::unique_ptr<AttentionPlan> make(const ConvGraph::Target& target, const AttentionShape& shape,
                                             bool backward, bool build, std::string& problem);
  virtual ~AttentionPlan() = default;

  virtual size_t workspace() const = 0;
  virtual void execute(cudnnContext* handle, const AttentionPointers& pointers, void* workspace) const = 0;
};

// Those made so far, by numbers of the shape and direction; null where the own kernels serve. None is ever dropped:
// recorded steps run their code.
class AttentionPlans {
 public:
  const AttentionPlan* find(Context& ctx, const AttentionShape& shape, bool backward);

 private:
  std::map<std::array<int64_t, 6>, std::unique_ptr<AttentionPlan>> plans_;
};

}  // namespace coss::cuda
