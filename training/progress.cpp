// On a terminal the line is rewritten in place; elsewhere the same text is a line of its own.
#include "training/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace coss {

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const auto total = static_cast<int64_t>(std::llround(seconds));
  const int64_t hours = total / 3600, minutes = total / 60 % 60, rest = total % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, rest) : fmt::format("{}:{:02}", minutes, rest);
}

std::string format_progress(const ProgressState& state) {
  std::string text = fmt::format("step {}/{}", state.step, state.steps);
  for (const auto& [name, value] : state.numbers) text += fmt::format("  {} {:.5g}", name, value);
  const int decimals = state.images_per_second < 100 ? 1 : 0;
  text += fmt::format("  lr {:.4g}  {:.{}f} img/s  wait {:.0f} %  left {}", state.learning_rate,
                      state.images_per_second, decimals, 100 * state.wait_share, format_duration(state.seconds_left));
  return text;
}

Progress::Progress(std::FILE* out) : out_(out), terminal_(isatty(fileno(out)) == 1) {}

void Progress::show(const ProgressState& state) {
  std::string text = format_progress(state);
  if (!terminal_) {
    fmt::print(out_, "{}\n", text);
    std::fflush(out_);
    return;
  }
  winsize size = {};
  // A line longer than the terminal would wrap and could not be rewritten.
  if (ioctl(fileno(out_), TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && text.size() >= size.ws_col)
    text.resize(size.ws_col - 1u);
  fmt::print(out_, "\r{:<{}}", text, shown_);
  std::fflush(out_);
  shown_ = text.size();
}

void Progress::message(const std::string& text) {
  if (shown_ > 0) fmt::print(out_, "\r{:<{}}\r", "", shown_);
  shown_ = 0;
  fmt::print(out_, "{}\n", text);
  std::fflush(out_);
}

void Progress::finish() {
  if (shown_ > 0) fmt::print(out_, "\n");
  std::fflush(out_);
  shown_ = 0;
}

}  // namespace coss
