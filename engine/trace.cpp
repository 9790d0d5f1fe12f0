// The timing table and the list of events. Kernels are launched from one thread, so the list needs no lock.
#include "engine/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

#include "engine/kernels.h"

namespace coss {
namespace {

struct Event {
  const char* name;
  double begin, end;  // microseconds
};

const Kernels* traced = nullptr;  // the table behind the timing one
bool waits = false;               // for each kernel
std::vector<Event> events;

double now() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A function with the signature of Kernels::*Member that times the call behind it.
template <auto Member>
struct Timed;
template <class... Args, void (*Kernels::*Member)(Args...)>
struct Timed<Member> {
  static inline const char* name = nullptr;
  static void call(Args... args) {
    const double begin = now();
    (traced->*Member)(args...);
    if (waits) traced->synchronize(context(Device::cuda));
    events.push_back({name, begin, now()});
  }
};

// Allocation is no kernel launch, and loader threads do it too, so it is not timed. Nor are calls that concern the
// whole device.
Kernels timing_table() {
  Kernels table{};
#define KERNEL(kernel, args)                \
  Timed<& Kernels::kernel>::name = #kernel; \
  table.kernel = &Timed<&Kernels::kernel>::call;
#include "engine/kernels.def"
#undef KERNEL
  table.allocate = traced->allocate;
  table.release = traced->release;
  table.probe = traced->probe;
  return table;
}

}  // namespace

void start_trace(Device device) {
  if (traced) return;
  traced = &kernels(device);
  waits = device == Device::cuda;
  static const Kernels table = timing_table();
  register_backend(device, &table);
}

bool tracing() { return traced != nullptr; }

TraceSpan::TraceSpan(const char* name) : name_(name), begin_(traced ? now() : 0) {}

TraceSpan::~TraceSpan() {
  if (traced) events.push_back({name_, begin_, now()});
}

std::string trace_json() {
  std::string text = "{\"traceEvents\":[";
  for (size_t i = 0; i < events.size(); ++i)
    text += fmt::format("{}\n{{\"name\":\"{}\",\"ph\":\"X\",\"pid\":0,\"tid\":0,\"ts\":{:.3f},\"dur\":{:.3f}}}",
                        i ? "," : "", events[i].name, events[i].begin, events[i].end - events[i].begin);
  return text + "\n]}\n";
}

std::string trace_summary() {
  struct Sum {
    int64_t calls = 0;
    double seconds = 0;
  };
  std::map<std::string, Sum> sums;
  for (const Event& event : events) {
    Sum& sum = sums[event.name];
    ++sum.calls;
    sum.seconds += (event.end - event.begin) * 1e-6;
  }
  std::vector<std::pair<std::string, Sum>> rows(sums.begin(), sums.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  std::string text = fmt::format("{:<24}{:>10}{:>12}{:>14}\n", "kernel", "calls", "seconds", "ms per call");
  for (const auto& [name, sum] : rows)
    text += fmt::format("{:<24}{:>10}{:>12.3f}{:>14.4f}\n", name, sum.calls, sum.seconds,
                        1e3 * sum.seconds / double(sum.calls));
  return text;
}

}  // namespace coss
