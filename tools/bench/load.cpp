// `coss bench load`: how long it takes to get a checkpoint's weights into a network, and how much memory.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "engine/print.h"
#include "evaluation/checkpoint.h"
#include "formats/file_bytes.h"
#include "tools/command.h"
#include "tools/commands.h"
#include "tools/evaluation_options.h"

namespace coss {
namespace {

struct BenchLoadOptions {
  CommonOptions common;
  std::string file, model = "resnet50", from = "auto";
  int64_t runs = 7;
};

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int64_t peak_of_process() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t(usage.ru_maxrss) * 1024;
}

void read_through(const std::string& path) {
  const FileBytes file(path);
  std::vector<uint8_t> buffer(128 << 10);
  for (int64_t at = 0; at < file.size(); at += int64_t(buffer.size()))
    file.read(at, buffer.data(), std::min<int64_t>(int64_t(buffer.size()), file.size() - at));
}

void run_bench_load(const BenchLoadOptions& options) {
  apply(options.common);
  const auto load = [&](Params& params) {
    const Checkpoint checkpoint(options.file, options.model, options.from);
    checkpoint.load_into(params, "", Classifier::optional);
  };
  const WeightFacts facts = Checkpoint(options.file, options.model, options.from).facts();
  const ModelInfo& model = find_model(facts.model);
  Params params;
  const auto network = model.make(Scope(params), facts.classes > 0 ? facts.classes : model.classes);
  params.allocate(options.common.place(), options.common.compute(), /*seed=*/0, /*frozen=*/true);

  const int64_t before = peak_of_process();
  load(params);
  const int64_t memory = peak_of_process() - before;
  double loading = 1e9, twice = 1e9;  // the best of several, since the file is in the page cache
  for (int64_t run = 0; run < options.runs; ++run) {
    loading = std::min(loading, seconds_of([&] { load(params); }));
    twice = std::min(twice, seconds_of([&] {
                       read_through(options.file);
                       read_through(options.file);
                     }));
  }
  if (options.common.json)
    print("{}\n", nlohmann::ordered_json{{"seconds", loading},
                                         {"seconds_to_read_twice", twice},
                                         {"ratio", loading / twice},
                                         {"bytes", FileBytes(options.file).size()},
                                         {"peak_bytes", memory}}
                      .dump());
  else
    print(
        "{}: {:.1f} ms into {} in memory already; {:.1f} ms to read its bytes twice, ratio {:.2f}; {:.1f} MB of "
        "memory\n",
        options.file, loading * 1e3, facts.model, twice * 1e3, loading / twice, double(memory) * 1e-6);
}

}  // namespace

void add_bench_load(CLI::App& bench) {
  CLI::App& command = *bench.add_subcommand("load", "time reading a checkpoint into a network");
  auto options = std::make_shared<BenchLoadOptions>();
  command.add_option("file", options->file, "a checkpoint")->required();
  command.add_option("--model", options->model, "network")->capture_default_str();
  add_from(command, options->from);
  command.add_option("--runs", options->runs, "the best of these counts")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_common(command, options->common);
  add_example(command, "coss bench load resnet50-0676ba61.pth --model resnet50");
  command.callback([options] { run_bench_load(*options); });
}

}  // namespace coss
