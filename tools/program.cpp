// The whole command line: the commands, suggestions for mistyped words, and how errors become exit codes.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <exception>

#include "engine/context.h"
#include "engine/kernels.h"
#include "engine/print.h"
#include "engine/text.h"
#include "evaluation/signals.h"
#include "tools/command.h"
#include "tools/commands.h"

namespace coss {

void add_json(CLI::App& command, CommonOptions& options) {
  command.add_flag("--json", options.json, "print one JSON object on stdout and nothing else there");
}

void add_force(CLI::App& command, bool& force) {
  command.add_flag("--force", force, "replace an output that exists; an input or a run is never replaced");
}

void add_common(CLI::App& command, CommonOptions& options) {
  command
      .add_option("--dtype", options.dtype,
                  options.trains ? "compute in fp32, bf16 or fp16; auto: the one that trains fastest"
                                 : "compute in fp32, bf16 or fp16; auto: fp32, for equal results everywhere")
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "fp16"}))
      ->capture_default_str();
  command.add_flag("--tf32", options.tf32, "on a GPU: fp32 products may round their inputs to TF32");
  command.add_option("--device", options.device, "where to compute: auto takes a GPU if one can be used")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  command.add_option("--threads", options.threads, "threads; 0: one per core")
      ->check(within(kThreadBounds))
      ->capture_default_str();
  command.add_option("--batch", options.batch, "images at a time")->check(within(kBatchBounds))->capture_default_str();
  add_json(command, options);
}

CLI::Validator within(const Bounds& bounds) {
  return {[bounds](const std::string& text) -> std::string {
            const std::optional<double> value = number_of(text);
            const bool good = value && bounds.hold(*value);
            return good ? "" : fmt::format("{} is not {}", text, bounds.str());
          },
          ""};
}

Device CommonOptions::place() const { return resolve_device(device); }

DType CommonOptions::compute() const { return resolve_dtype(dtype == "auto" && !trains ? "fp32" : dtype, place()); }

void apply(const CommonOptions& options) {
  prepare_device(options.place(), options.compute(), options.tf32, options.threads);
}

void add_example(CLI::App& command, const std::string& example) { command.footer("Example:\n  " + example); }

namespace {

constexpr int kUsageError = 2;

void build(CLI::App& program) {
  program.set_help_flag("-h,--help", "print this help and end");  // the commands inherit it
  program.set_version_flag("--version", "coss " COSS_VERSION, "print the version and end");
  program.require_subcommand(1);
  program.get_formatter()->column_width(34);
  for (const auto add : kCommands) add(program);
  program.footer(
      "Start with:\n  coss draw --out images\n  coss train recipes/quickstart_teacher.json --out runs/teacher\n"
      "Help for one command: coss train --help");
}

std::vector<std::string> names_of_commands(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& known) {
  const std::string guess = nearest(word, known);
  return guess.empty() ? "" : fmt::format("; did you mean '{}'?", guess);
}

// Follows the words of the command line through the tree of commands. `wrong` becomes the first that is no command.
const CLI::App& command_of(const CLI::App& program, int argc, const char* const* argv, std::string& wrong) {
  const CLI::App* command = &program;
  for (int i = 1; i < argc; ++i) {
    const std::vector<std::string> names = names_of_commands(*command);
    const std::string word = argv[i];
    if (names.empty() || word.starts_with('-')) break;
    if (std::find(names.begin(), names.end(), word) == names.end()) {
      wrong = word;
      break;
    }
    command = command->get_subcommand(word);
  }
  return *command;
}

std::string full_name(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent ? full_name(*parent) + " " + command.get_name() : command.get_name();
}

// The message for a command line that cannot be parsed.
std::string usage_message(const CLI::App& program, const CLI::ParseError& error, int argc, const char* const* argv) {
  std::string wrong;
  const CLI::App& command = command_of(program, argc, argv, wrong);
  std::string message;
  if (!wrong.empty()) {
    message = fmt::format("unknown command '{}'", wrong) + did_you_mean(wrong, names_of_commands(command));
  } else if (dynamic_cast<const CLI::ExtrasError*>(&error)) {
    std::vector<std::string> known;
    for (const CLI::Option* option : command.get_options())
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    for (const std::string& word : command.remaining(true)) {
      message += (message.empty() ? "" : "; ") + fmt::format("'{}' was not expected", word);
      const std::string option = word.substr(0, word.find('='));
      if (option.starts_with("--")) message += did_you_mean(option, known);
    }
    if (message.empty()) message = error.what();
  } else {
    message = error.what();
  }
  std::replace(message.begin(), message.end(), '\n', ' ');
  return fmt::format("{} (see {} --help)", message, full_name(command));
}

int run_command(int argc, const char* const* argv) {
  try {
    CLI::App program("Distills large self-supervised teachers into small students.", "coss");
    build(program);
    try {
      program.parse(argc, argv);
    } catch (const CLI::Success& request) {  // --help, --version
      return program.exit(request);
    } catch (const CLI::ParseError& error) {
      print(stderr, "coss: {}\n", usage_message(program, error, argc, argv));
      return kUsageError;
    }
    return 0;
  } catch (const Exit& exit) {
    return exit.code;
  } catch (const Interrupted&) {
    print(stderr, "coss: stopped before the end; nothing was written\n");
    return interrupt_exit_code();
  } catch (const std::bad_alloc&) {
    print(stderr, "coss: out of memory; use a smaller batch\n");
  } catch (const std::exception& error) {
    print(stderr, "coss: {}\n", error.what());
  }
  return 1;
}

// A closed descriptor would be given to the next file that is opened, and messages would be written into it.
void open_standard_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0) std::abort();
}

}  // namespace

int run_program(int argc, const char* const* argv) {
  open_standard_streams();
  // A closed pipe or a limit on the size of files is an error of the write, not the program's end.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  const int code = run_command(argc, argv);
  const std::string lost = output_failure();
  if (lost.empty()) return code;
  print(stderr, "coss: cannot write the output: {}\n", lost);
  return code == 0 ? 1 : code;
}

}  // namespace coss
