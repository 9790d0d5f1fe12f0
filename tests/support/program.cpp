// Calls std::system with both streams redirected to files.
#include "tests/support/program.h"

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "tests/support/support.h"

namespace coss::test {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
}

Outcome run_program(const std::string& arguments, const std::string& prefix) {
  const std::string folder = scratch_folder();
  const std::string command =
      prefix + " '" + COSS_PROGRAM + "' " + arguments + " >'" + folder + "/out' 2>'" + folder + "/err' </dev/null";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(folder + "/out"), read_file(folder + "/err")};
}

}  // namespace coss::test
