// Graph: a list of the operations of a frozen forward pass, recorded as they run. The ONNX writer makes a file of it.
// Each operation adds one node while a Graph is alive; without a Graph nothing happens.
#pragma once
#include <variant>
#include <vector>

#include "engine/kernel_params.h"
#include "engine/tensor.h"

namespace coss {

// What a node does. Its inputs have the order of the operation in ops.h; an absent input is empty().
namespace node {
struct Conv {  // x, w, bias, residual
  ConvParams params;
  Activation activation;
};
struct Linear {  // x, w, bias
  Activation activation;
};
struct Act {
  Activation activation;
};
struct Add {};
struct MaxPool {
  PoolParams params;
};
struct AvgPool {
  PoolParams params;
};
struct MeanHw {};
struct ShortcutA {
  int64_t stride, before;
};
struct ScaleChannels {};
struct SliceChannels {
  int64_t first;
};
struct ConcatChannels {};
struct ShuffleChannels {
  int64_t groups;
};
struct LayerNorm {
  float eps;
};
struct NormalizeRows {
  float eps;
};
struct Attention {
  AttentionParams params;
};
struct Patches {
  int64_t size;
};
struct JoinTokens {};
struct MeanTokens {
  int64_t first, count;
};

using Kind =
    std::variant<Conv, Linear, Act, Add, MaxPool, AvgPool, MeanHw, ShortcutA, ScaleChannels, SliceChannels,
                 ConcatChannels, ShuffleChannels, LayerNorm, NormalizeRows, Attention, Patches, JoinTokens, MeanTokens>;
}  // namespace node

struct GraphNode {
  node::Kind kind;
  std::vector<Tensor> inputs;
  Tensor output;
};

// Records while it is alive, in the thread that made it. It holds every tensor of the pass, so that a tensor's address
// tells which node made it.
class Graph {
 public:
  Graph() : outer_(active_) { active_ = this; }
  ~Graph() { active_ = outer_; }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  static Graph* active() { return active_; }
  const std::vector<GraphNode>& nodes() const { return nodes_; }

 private:
  friend void note(node::Kind, std::vector<Tensor>, const Tensor&);
  std::vector<GraphNode> nodes_;
  Graph* outer_;
  static inline constinit thread_local Graph* active_ = nullptr;
};

// Each operation calls it once, after its kernel.
inline void note(node::Kind kind, std::vector<Tensor> inputs, const Tensor& output) {
  if (Graph* graph = Graph::active()) graph->nodes_.push_back({kind, std::move(inputs), output});
}

}  // namespace coss
