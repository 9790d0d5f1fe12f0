// Traces: how long each kernel ran and when, as a file for chrome://tracing or Perfetto. Off, it costs nothing: turning
// it on replaces the table of kernels by one whose entries time the call.
#pragma once
#include <string>

#include "engine/types.h"

namespace coss {

// Traces every kernel of `device` from now on; call before the first kernel. Each kernel of a GPU is waited for, so its
// time is its own; steps are not recorded then.
void start_trace(Device device);
bool tracing();
// Names a span of the host code in the trace (a step, a phase); nothing when no trace runs. `name` must be a literal.
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
