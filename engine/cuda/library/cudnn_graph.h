// One convolution as a cuDNN 9 graph and the engine configurations that can run it. The only place that knows
// cudnn-frontend. A graph can also be made for a GPU that is not there, from cuDNN's JSON description of it, so that
// plans are tested without a GPU.
#pragma once
#include <memory>
#include <string>

#include "engine/cuda/library/conv_key.h"

struct cudnnContext;  // cudnnHandle_t points to one

namespace coss::cuda {

// The arguments of a graph. An unused one may be anything.
enum ConvSlot : size_t {
  kConvA,     // x; for gradients dy
  kConvB,     // w; for the weight gradient x
  kConvBias,  // (K)
  kConvResidual,
  kConvOut,
  kConvOne,  // the number 1 in host memory
  kConvSlots
};

class ConvGraph {
 public:
  // Where the graph will run: a handle, or a description of a GPU. Both must live during the call only.
  struct Target {
    cudnnContext* handle = nullptr;
    std::string device_json{};
    int sm_version = 0;  // 90: compute capability 9.0; only attention asks for it
  };
  // Null when cuDNN has no engine for it; `problem` says why. The route is not `product`.
  static std::unique_ptr<ConvGraph> make(const Target& target, const ConvKey& key, Route route, std::string& problem);
  virtual ~ConvGraph() = default;

  // The number of engine configurations, the heuristics' best first. Those whose results may differ from run to run, or
  // that compute with less precision than requested, are left out.
  virtual size_t count() const = 0;
  virtual std::string name(size_t i) const = 0;           // "eng41_k2=4_k13=0": the engine and its settings
  virtual bool compiled_at_run_time(size_t i) const = 0;  // takes about a second to build
  virtual bool build(size_t i, std::string& problem) = 0;
  virtual size_t workspace(size_t i) const = 0;  // of a configuration that is built
  virtual void keep_only(size_t i) = 0;          // the other plans are freed
  // One address for each ConvSlot.
  virtual void execute(cudnnContext* handle, size_t i, void* const* pointers, void* workspace) const = 0;
};

}  // namespace coss::cuda
