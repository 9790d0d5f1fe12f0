// What the sub-commands share: common options, examples in their help, and how the program ends.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "engine/choice.h"

namespace coss {

struct CommonOptions {
  std::string dtype = "auto", device = "auto";
  // For "auto": true takes the dtype that trains fastest; false takes fp32, so that a result is the same everywhere.
  bool trains = false;
  int threads = 0;      // 0: one per core
  int64_t batch = 256;  // images at a time
  bool tf32 = false;
  bool json = false;

  // What dtype and device come to on this machine. Throws Error if it has no such device.
  DType compute() const;
  Device place() const;
};

// Adds --dtype --tf32 --device --threads --batch --json. The options must live until the program has run.
void add_common(CLI::App& command, CommonOptions& options);
// Adds --json alone, for commands that compute nothing.
void add_json(CLI::App& command, CommonOptions& options);
// Adds --force, for every command that writes a file that the user names; see check_output() in formats/outputs.h.
void add_force(CLI::App& command, bool& force);
// Prepares the device as the options say (prepare_device()). Call it first in a command's callback.
void apply(const CommonOptions& options);

// Adds the last paragraph of a command's help.
void add_example(CLI::App& command, const std::string& example);

// Ends the program with this code and no further message (a training run that was asked to stop).
struct Exit {
  int code = 0;
};

// What main() does: builds the command line, runs one command, turns errors into messages and exit codes
// (0 done, 1 an Error, 2 wrong usage).
int run_program(int argc, const char* const* argv);

}  // namespace coss
