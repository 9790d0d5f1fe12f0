// cuDNN's fused attention. A plan serves one shape, on a GPU that is there or, for tests, on one that is only
// described.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <string>

#include "engine/cuda/attention.h"
#include "engine/cuda/library/cudnn_graph.h"

namespace coss::cuda {

// The addresses of an attention's tensors; forward uses none of the gradients.
struct AttentionPointers {
  const void* qkv = nullptr;
  void *y = nullptr, *lse = nullptr;
  const void* dy = nullptr;
  void* dqkv = nullptr;
};

class AttentionPlan {
 public:
  // The heuristics' first engine whose results do not differ from run to run. Null when none can be built; `problem`
  // then says why. Engines compiled at run time cannot be built for a GPU that is not there: build == false skips that.
  static std::unique_ptr<AttentionPlan> make(const ConvGraph::Target& target, const AttentionShape& shape,
                                             bool backward, bool build, std::string& problem);
  virtual ~AttentionPlan() = default;

  virtual size_t workspace() const = 0;
  virtual void execute(cudnnContext* handle, const AttentionPointers& pointers, void* workspace) const = 0;
};

// The plans made so far, by shape and direction; null where the own kernels are used. No plan is dropped, because
// recorded steps run their code.
class AttentionPlans {
 public:
  const AttentionPlan* find(Context& ctx, const AttentionShape& shape, bool backward);

 private:
  std::map<std::array<int64_t, 6>, std::unique_ptr<AttentionPlan>> plans_;
};

}  // namespace coss::cuda
