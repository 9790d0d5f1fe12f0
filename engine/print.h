// Print: the one place that writes texts to a terminal. Names and texts of files may hold any bytes, also such as a
// terminal would obey; here they become harmless.
#pragma once
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <utility>

namespace coss {

// Writes `text` through printable(), with its line breaks and tabs. A text that cannot be written is no error here: a
// closed pipe or a full terminal stops no work. output_failure() tells it at the end.
void print_text(std::FILE* out, const std::string& text);

// The same for a format of fmt and its values; to stdout where no file is named.
template <class... Values>
void print(std::FILE* out, fmt::format_string<Values...> format, Values&&... values) {
  print_text(out, fmt::format(format, std::forward<Values>(values)...));
}
template <class... Values>
void print(fmt::format_string<Values...> format, Values&&... values) {
  print_text(stdout, fmt::format(format, std::forward<Values>(values)...));
}

// Rewrites the last line of a terminal with `text`; `ends` begins a new line after it.
void rewrite_line(std::FILE* out, const std::string& text, bool ends = false);

// Why something printed to stdout was lost ("No space left on device"); empty when nothing was, or when the reader has
// closed the pipe. Flushes stdout.
std::string output_failure();

}  // namespace coss
