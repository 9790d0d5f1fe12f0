// The graph that records, one per thread.
#include "autograd/graph.h"

namespace coss {

constinit thread_local Graph* Graph::active_ = nullptr;

}  // namespace coss
