// Runs the built program as a child, as its users do.
#pragma once
#include <string>

namespace coss::test {

struct Outcome {
  int code = 0;  // exit code, -1 when a signal ended it
  std::string out, err;
};

// `arguments` go through the shell; `prefix` is a command that runs the program, such as "timeout 1".
Outcome run_program(const std::string& arguments, const std::string& prefix = "");

// Whether `text`, the output of a program, has `part`.
inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& bytes);

}  // namespace coss::test
