// Opens cuDNN, and chooses the plans of convolutions.
#include "engine/cuda/library/cudnn.h"

#include <cudnn.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <limits>

#include "engine/cuda/library/state.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // where cudnn-frontend looks up cuDNN's functions
}

namespace coss::cuda {
namespace {

constexpr const char* kLibrary = "libcudnn.so.9";
constexpr size_t kOldest = 90000;
// How many engines of one way are measured. Precompiled engines take milliseconds to try. Engines compiled at run time
// take about a second each, and are tried only where there are no others.
constexpr size_t kCompiledCandidates = 8, kRunTimeCandidates = 3;

struct Library {
  size_t version = 0;  // 91900 is 9.19.0
  std::string problem;

  Library() {
    void* opened = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
    const std::string folder = COSS_CUDNN_DIR;
    if (!opened && !folder.empty()) opened = dlopen((folder + "/" + kLibrary).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!opened) {
      const char* why = dlerror();
      problem = std::string(kLibrary) + " cannot be opened" + (why ? std::string(" (") + why + ")" : "") +
                ": install cuDNN 9, or put its folder in LD_LIBRARY_PATH";
      return;
    }
    cudnn_frontend::cudnn_dlhandle = opened;
    // cuDNN opens and closes NVRTC for every graph, which takes longer than the planning, unless the program keeps it
    // open.
    dlopen(("libnvrtc.so." + std::to_string(CUDART_VERSION / 1000)).c_str(), RTLD_LAZY | RTLD_LOCAL);
    const auto get_version = reinterpret_cast<decltype(&cudnnGetVersion)>(dlsym(opened, "cudnnGetVersion"));
    if (get_version) version = get_version();
    if (version < kOldest) problem = std::string(kLibrary) + " is older than cuDNN 9.0: install a newer cuDNN";
  }
  std::string text() const {
    return std::to_string(version / 10000) + "." + std::to_string(version % 10000 / 100) + "." +
           std::to_string(version % 100);
  }
};

const Library& library() {
  static const Library opened;
  return opened;
}

#define COSS_CUDNN_FUNCTION(name) function<decltype(&name)>(#name)
template <class F>
F function(const char* name) {
  const auto found = reinterpret_cast<F>(dlsym(cudnn_frontend::cudnn_dlhandle, name));
  COSS_CHECK(found, std::string(kLibrary) + " has no function " + name + ": install a newer cuDNN 9");
  return found;
}

void check_cudnn(cudnnStatus_t status, const char* what) {
  COSS_CHECK(status == CUDNN_STATUS_SUCCESS, std::string("cuDNN ") + library().text() + ": " +
                                                 COSS_CUDNN_FUNCTION(cudnnGetErrorString)(status) + " in " + what);
}

class Stopwatch {
 public:
  explicit Stopwatch(cudaStream_t stream) : stream_(stream) {
    COSS_CUDA_CHECK(cudaEventCreate(&begin_));
    COSS_CUDA_CHECK(cudaEventCreate(&end_));
  }
  ~Stopwatch() {
    if (begin_) cudaEventDestroy(begin_);
    if (end_) cudaEventDestroy(end_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  template <class Work>
  float milliseconds(const Work& work) {
    float elapsed = 0;
    COSS_CUDA_CHECK(cudaEventRecord(begin_, stream_));
    work();
    COSS_CUDA_CHECK(cudaEventRecord(end_, stream_));
    COSS_CUDA_CHECK(cudaEventSynchronize(end_));
    COSS_CUDA_CHECK(cudaEventElapsedTime(&elapsed, begin_, end_));
    return elapsed;
  }

 private:
  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

// Null for a matrix product, which cuDNN does not compute.
std::shared_ptr<ConvGraph> graph_of(const ConvGraph::Target& target, const ConvKey& key, const ConvWay& way,
                                    std::string& problem) {
  if (way.route == Route::product) return nullptr;
  return ConvGraph::make(target, way.folded ? key.folded() : key, way.route, problem);
}

// The text in the plan file, such as "fused folded: eng7_k24=21".
std::string choice_of(const ConvPlan& plan) {
  return plan.way.text() + ":" + (plan.graph ? " " + plan.graph->name(plan.index) : "");
}

}  // namespace

std::string cudnn_version() {
  const Library& opened = library();
  return opened.problem.empty() ? opened.text() : "missing: " + opened.problem;
}

void open_cudnn() { COSS_CHECK(library().problem.empty(), "convolutions on a GPU need cuDNN: " + library().problem); }

// --- candidates ------------------------------------------------------------------------------------------------------

std::vector<std::vector<ConvWay>> conv_ways(const ConvKey& key) {
  const bool fold = key.foldable();
  switch (key.kind) {
    case ConvKind::forward:
      if (fold) return {{{Route::plain, true}, {Route::plain}}};
      return {{{Route::plain}}};
    case ConvKind::bias_act:
      // cuDNN has no hardswish. Its engines do not say how exact their silu is, so it is used for bf16 only, which has
      // eight bits.
      if (key.activation == Activation::silu && key.dtype == DType::bf16)
        return {{{Route::fused, fold}, {Route::separate, fold}}};
      if (!clips(key.activation)) return {{{Route::separate, fold}}};
      if (key.wide()) return {{{Route::fused}, {Route::separate}}};
      if (!fold) return {{{Route::fused}, {Route::rounded_bias}, {Route::separate}}};
      return {{{Route::fused, true}, {Route::rounded_bias, true}, {Route::separate, true}, {Route::rounded_bias}}};
    case ConvKind::dgrad:
      return {{{Route::plain}}};
    case ConvKind::wgrad:
      break;
  }
  std::vector<ConvWay> first;
  if (key.pointwise()) first.push_back({Route::product});
  first.push_back({key.wide() ? Route::plain : Route::fused, fold});
  if (key.wide()) return {first};
  if (key.c < kPaddedChannels && key.params.groups == 1) return {first, {{Route::padded}}, {{Route::widened}}};
  return {first, {{Route::widened}}};
}

std::vector<ConvPlan> conv_candidates(const ConvGraph::Target& target, const ConvKey& key, bool first_only,
                                      std::string& problem) {
  std::vector<ConvPlan> candidates;
  auto enough = [&] { return first_only && !candidates.empty(); };
  // Takes up to `most` engines of a way; returns true if there was one.
  auto take = [&](const ConvWay& way, const std::shared_ptr<ConvGraph>& graph, bool at_run_time, size_t most) {
    size_t taken = 0;
    for (size_t i = 0; i < graph->count() && taken < most && !enough(); ++i) {
      if (graph->compiled_at_run_time(i) != at_run_time || !graph->build(i, problem)) continue;
      candidates.push_back({.way = way, .graph = graph, .index = i, .workspace = graph->workspace(i)});
      ++taken;
    }
    return taken > 0;
  };
  for (const std::vector<ConvWay>& group : conv_ways(key)) {
    for (const ConvWay& way : group) {
      if (enough()) break;
      if (way.route == Route::product) candidates.push_back({.way = way, .graph = nullptr});
      const std::shared_ptr<ConvGraph> graph = graph_of(target, key, way, problem);
      if (graph && !take(way, graph, false, kCompiledCandidates)) take(way, graph, true, kRunTimeCandidates);
    }
    if (!candidates.empty()) break;
  }
  return candidates;
}

// --- the library's handle, and choices -------------------------------------------------------------------------------

Cudnn::Cudnn(State& state)
    : state_(state),
      measures_(!std::getenv("COSS_NO_AUTOTUNE") || std::string(std::getenv("COSS_NO_AUTOTUNE")) != "1"),
      file_(measures_ ? PlanFile::path_for(state.device().name, cudnn_version()) : "") {
  open_cudnn();
  check_cudnn(COSS_CUDNN_FUNCTION(cudnnCreate)(&handle_), "cudnnCreate");
  check_cudnn(COSS_CUDNN_FUNCTION(cudnnSetStream)(handle_, state.stream()), "cudnnSetStream");
}

Cudnn::~Cudnn() {
  plans_.clear();
  attention_ = {};
  const auto destroy = reinterpret_cast<decltype(&cudnnDestroy)>(dlsym(cudnn_frontend::cudnn_dlhandle, "cudnnDestroy"));
  if (handle_ && destroy && destroy(handle_) != CUDNN_STATUS_SUCCESS)
    std::fprintf(stderr, "coss: cudnnDestroy failed\n");
}

const ConvPlan& Cudnn::choose(Context& ctx, const ConvKey& key, const std::function<void(const ConvPlan&)>& run) {
  cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
  COSS_CUDA_CHECK(cudaStreamIsCapturing(state_.stream(), &capturing));
  COSS_CHECK(capturing == cudaStreamCaptureStatusNone,
             "[conv2d] a step is being recorded with a convolution that has not run before: " + key.text());
  ConvPlan chosen;
  if (!recall(key, chosen)) {
    std::string problem = "no engine";
    const std::vector<ConvPlan> candidates = conv_candidates({.handle = handle_}, key, !measures_, problem);
    COSS_CHECK(!candidates.empty(),
               "[conv2d] cuDNN " + cudnn_version() + " cannot compute " + key.text() + ": " + problem);
    size_t best = 0;
    if (measures_ && candidates.size() > 1) {
      ctx.count_wait();
      best = fastest(candidates, run);
    }
    chosen = candidates[best];
    if (measures_) file_.remember(key.text(), choice_of(chosen));
  }
  if (chosen.graph) chosen.graph->keep_only(chosen.index);
  return plans_.emplace(key, chosen).first->second;
}

bool Cudnn::recall(const ConvKey& key, ConvPlan& plan) const {
  const std::string choice = file_.find(key.text());
  if (choice.empty()) return false;
  std::string problem;
  for (const std::vector<ConvWay>& group : conv_ways(key)) {
    for (const ConvWay& way : group) {
      if (choice.substr(0, choice.find(':')) != way.text()) continue;
      plan = {.way = way, .graph = graph_of({.handle = handle_}, key, way, problem)};
      if (way.route == Route::product) return true;
      for (; plan.graph && plan.index < plan.graph->count(); ++plan.index) {
        if (choice_of(plan) != choice) continue;
        if (!plan.graph->build(plan.index, problem)) return false;
        plan.workspace = plan.graph->workspace(plan.index);
        return true;
      }
    }
  }
  return false;
}

size_t Cudnn::fastest(const std::vector<ConvPlan>& candidates, const std::function<void(const ConvPlan&)>& run) const {
  float best = std::numeric_limits<float>::max();
  size_t fastest = candidates.size();
  std::string problem;
  for (size_t i = 0; i < candidates.size(); ++i) {
    try {
      const float milliseconds = time(candidates[i], run, best);
      if (milliseconds < best) {
        best = milliseconds;
        fastest = i;
      }
    } catch (const Error& error) {  // an engine that does not run here, or needs more memory than there is
      problem = error.what();
    }
  }
  COSS_CHECK(fastest < candidates.size(), problem);
  return fastest;
}

// The shortest time of a few runs, after one that loads the code. Only one run when it takes several times `enough`.
float Cudnn::time(const ConvPlan& plan, const std::function<void(const ConvPlan&)>& run, float enough) const {
  constexpr int kRuns = 4;
  Stopwatch watch(state_.stream());
  run(plan);
  float best = std::numeric_limits<float>::max();
  for (int i = 0; i < kRuns; ++i) {
    best = std::min(best, watch.milliseconds([&] { run(plan); }));
    if (best / 2 > enough) break;
  }
  return best;
}

}  // namespace coss::cuda
