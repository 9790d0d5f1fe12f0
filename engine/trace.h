// Traces: how long each kernel ran and when, as a file for chrome://tracing or Perfetto. A trace that is off costs
// nothing: turning it on replaces the table of kernels by one whose entries time each call.
#pragma once
#include <string>

#include "engine/types.h"

namespace coss {

// Traces every kernel of `device` from now on; call it before the first kernel. On a GPU the host then waits for each
// kernel, so that its time is measured alone, and steps are not recorded as CUDA graphs.
void start_trace(Device device);
bool tracing();
// Marks a span of the host code in the trace (a step, a phase). It does nothing when no trace runs. `name` must be a
// literal.
class TraceSpan {
 public:
  explicit TraceSpan(const char* name);
  ~TraceSpan();
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  const char* name_;
  double begin_;
};
// The trace so far in the Trace Event Format (JSON).
std::string trace_json();
// Per kernel: calls and seconds, the costliest first, as a table for a terminal.
std::string trace_summary();

}  // namespace coss
