// What the sub-commands share: common options, the look of their help, and the ways to end.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "engine/choice.h"

namespace coss {

struct CommonOptions {
  std::string dtype = "auto", device = "auto";
  bool trains = false;  // auto is the dtype that trains fastest; else fp32, so that a result is the same everywhere
  int threads = 0;      // 0: one per core
  int64_t batch = 256;  // images at a time
  bool tf32 = false;
  bool json = false;

  DType compute() const;
  Device place() const;
};

// --dtype --tf32 --device --threads --batch --json. The options must live until the program has run.
void add_common(CLI::App& command, CommonOptions& options);
// --json alone, for commands that compute nothing.
void add_json(CLI::App& command, CommonOptions& options);
// --force, for every command that writes what the user names; see check_output() in formats/outputs.h.
void add_force(CLI::App& command, bool& force);
// prepare_device() from common options. Call it first in a command's callback.
void apply(const CommonOptions& options);

// The last paragraph of a command's help.
void add_example(CLI::App& command, const std::string& example);

// Ends the program with this code and no further message (a training run that was asked to stop).
struct Exit {
  int code = 0;
};

// What main() does: builds the command line, runs one command, turns errors into messages and exit codes
// (0 done, 1 an Error, 2 wrong usage).
int run_program(int argc, const char* const* argv);

}  // namespace coss
