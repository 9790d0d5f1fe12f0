// Texts for a terminal, byte by byte harmless.
#include "engine/print.h"

#include <cerrno>
#include <cstring>

#include "engine/text.h"

namespace coss {

namespace {

int lost = 0;  // the system's reason; stdout is written by one thread

void write_bytes(std::FILE* out, const std::string& bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), out) != bytes.size() && out == stdout && lost == 0) lost = errno;
}

}  // namespace

void print_text(std::FILE* out, const std::string& text) { write_bytes(out, printable(text, /*lines=*/true)); }

void rewrite_line(std::FILE* out, const std::string& text, bool ends) {
  write_bytes(out, "\r" + printable(text) + (ends ? "\n" : ""));
  std::fflush(out);
}

std::string output_failure() {
  if (std::fflush(stdout) != 0 && lost == 0) lost = errno;
  return lost == 0 || lost == EPIPE ? "" : std::strerror(lost);
}

}  // namespace coss
