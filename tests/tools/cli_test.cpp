// The program as its users meet it: exit codes, messages, and JSON that stands alone on stdout.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support/program.h"
#include "tests/support/support.h"
#include "training/progress.h"

namespace coss {
namespace {

using test::contains;
using test::Outcome;

Outcome run(const std::string& arguments) { return test::run_program(arguments); }

std::string write_recipe(const std::string& text) {
  const std::string path = test::scratch_folder() + "/recipe.json";
  std::ofstream(path) << text;
  return path;
}

TEST(Cli, VersionAndHelp) {
  EXPECT_EQ(run("--version").code, 0);
  EXPECT_TRUE(contains(run("--version").out, "coss 0."));
  const Outcome help = run("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* name :
       {"train", "eval", "embed", "mine", "models", "methods", "inspect", "convert", "draw", "bench", "doctor"}) {
    EXPECT_TRUE(contains(help.out, name)) << name;
    const Outcome own = run(std::string(name) + " --help");
    EXPECT_EQ(own.code, 0) << name;
    EXPECT_TRUE(contains(own.out, "--help")) << name;
    EXPECT_TRUE(own.err.empty()) << name << ": " << own.err;
  }
  for (const char* name : {"train", "eval knn", "eval linear", "eval classify", "embed", "mine", "models", "methods",
                           "inspect", "convert", "draw", "bench losses"})
    EXPECT_TRUE(contains(run(std::string(name) + " --help").out, "Example:\n  coss ")) << name;
  EXPECT_TRUE(contains(run("train --help").out, "schedule.learning_rate = "));
}

// Help texts begin in lower case, but for names.
TEST(Cli, HelpIsOfOneStyle) {
  constexpr size_t kColumn = 34;  // where the texts begin
  for (const char* name :
       {"", "train", "eval", "eval knn", "eval linear", "eval classify", "embed", "mine", "models", "methods",
        "inspect", "convert", "draw", "bench", "bench load", "bench data", "bench mining", "bench losses", "doctor"}) {
    std::istringstream help(run(std::string(name) + " --help").out);
    for (std::string line; std::getline(help, line) && line != "Example:";) {
      if (line.size() <= kColumn || line[kColumn - 1] != ' ' || std::isupper(line[kColumn]) == 0) continue;
      const std::string word = line.substr(kColumn, line.find(' ', kColumn) - kColumn);
      EXPECT_TRUE(word == "PyTorch" || word == "CIFAR" || word == "GiB") << name << ": " << line;
    }
  }
}

TEST(Cli, TrainTakesTheSharedOptions) {
  const std::string help = run("train --help").out;
  for (const char* option : {"--dtype", "--tf32", "--device", "--threads", "--batch", "--json"})
    EXPECT_TRUE(contains(help, option)) << option;
  EXPECT_EQ(run("train recipe.json --dtype fp12").code, 2);
  const std::string recipe = write_recipe(R"({"data": {"path": "none"}, "student": {"model": "resnet20_cifar"},
                                               "method": {"name": "supervised"}, "train": {"batch": 8}})");
  const Outcome outcome =
      run("train " + recipe + " dtype=bf16 --dtype fp32 --device cpu --threads 1 --batch 3 --dry-run");
  for (const char* line : {"\"dtype\": \"fp32\"", "\"device\": \"cpu\"", "\"threads\": 1", "\"batch\": 3"})
    EXPECT_TRUE(contains(outcome.out, line)) << line << "\n" << outcome.out;
}

TEST(Cli, WrongUsageEndsWithTwo) {
  struct Case {
    const char* arguments;
    const char* message;
  };
  for (const Case& c : {Case{"", "coss --help"}, Case{"trian x.json", "did you mean 'train'?"},
                        Case{"eval kn", "did you mean 'knn'?"}, Case{"draw", "--out"},
                        Case{"models --jsn", "did you mean '--json'?"}, Case{"draw --out x --classes 1", "--classes"},
                        Case{"draw --out x --size big", "--size"}, Case{"eval", "eval --help"}}) {
    const Outcome outcome = run(c.arguments);
    EXPECT_EQ(outcome.code, 2) << c.arguments;
    EXPECT_TRUE(outcome.out.empty()) << c.arguments;
    EXPECT_TRUE(outcome.err.starts_with("coss: ")) << c.arguments << ": " << outcome.err;
    EXPECT_TRUE(contains(outcome.err, c.message)) << c.arguments << ": " << outcome.err;
  }
}

TEST(Cli, ErrorsEndWithOneAndSayWhy) {
  const Outcome missing = run("inspect no_such_file.pth --json");
  EXPECT_EQ(missing.code, 1);
  EXPECT_TRUE(missing.out.empty());
  EXPECT_TRUE(missing.err.starts_with("coss: ") && contains(missing.err, "no_such_file.pth")) << missing.err;

  const std::string recipe = write_recipe(R"({"train": {"btch": 1}, "sed": 3})"), out = test::scratch_folder() + "/run";
  const Outcome unknown = run("train " + recipe + " data.pat=x --out " + out);
  EXPECT_EQ(unknown.code, 1);
  for (const char* part : {"'train.batch'", "'seed'", "'data.path'", "3 mistakes"})
    EXPECT_TRUE(contains(unknown.err, part)) << part << " in: " << unknown.err;
  EXPECT_FALSE(std::filesystem::exists(out));
}

// The message is one line, and nothing is done before: this build has no CUDA backend, or there is no GPU, no driver or
// no library.
TEST(Cli, ADeviceThatCannotBeUsedIsSaid) {
  if (contains(run("doctor --json").out, "\"cuda\":{\"usable\":true")) GTEST_SKIP() << "there is a GPU";
  const std::string recipe = write_recipe(R"({"data": {"path": "none"}, "student": {"model": "resnet20_cifar"},
                                               "method": {"name": "supervised"}})");
  for (const std::string& command : {"train " + recipe + " --device cuda --out " + test::scratch_folder() + "/run",
                                     std::string("bench --device cuda"), std::string("bench mining --device cuda")}) {
    const Outcome outcome = run(command);
    EXPECT_EQ(outcome.code, 1) << command;
    EXPECT_TRUE(outcome.out.empty()) << command << ": " << outcome.out;
    EXPECT_TRUE(contains(outcome.err, "cuda")) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
  EXPECT_EQ(run("bench --dtype fp16 --device cpu").code, 1);
  EXPECT_EQ(run("bench --tf32 --device cpu").code, 1);
}

TEST(Cli, DoctorNamesBothDevices) {
  const Outcome outcome = run("doctor --json");
  EXPECT_EQ(outcome.code, 0);
  const auto report = nlohmann::json::parse(outcome.out);
  EXPECT_TRUE(report.at("cpu").at("usable").get<bool>());
  EXPECT_GT(report.at("cpu").at("memory_bytes").get<int64_t>(), 0);
  EXPECT_NE(report.at("cuda").at("usable").get<bool>(), !report.at("cuda").at("problem").get<std::string>().empty());
  EXPECT_TRUE(contains(run("doctor").out, "usable"));
}

TEST(Cli, JsonStandsAlone) {
  const auto models = nlohmann::json::parse(run("models --json").out).at("models");
  bool found = false;
  for (const auto& model : models)
    if (model.at("name") == "resnet18") {
      found = true;
      EXPECT_EQ(model.at("parameters"), 11689512);  // torchvision's
      EXPECT_EQ(model.at("feature_width"), 512);
    }
  EXPECT_TRUE(found);

  const std::string images = test::scratch_folder() + "/images";
  const Outcome drawn = run("draw --json --classes 2 --per-class 3 --test-per-class 1 --out " + images);
  EXPECT_EQ(drawn.code, 0) << drawn.err;
  EXPECT_EQ(nlohmann::json::parse(drawn.out).at("train"), 6);
  EXPECT_TRUE(drawn.err.empty()) << drawn.err;
}

TEST(Cli, MethodsAreListedWithWhatTheyNeed) {
  const auto methods = nlohmann::json::parse(run("methods --json").out).at("methods");
  std::map<std::string, nlohmann::json> by_name;
  for (const auto& method : methods) {
    EXPECT_FALSE(method.at("paper").get<std::string>().empty());
    EXPECT_GE(method.at("views"), 1);
    by_name[method.at("name")] = method;
  }
  EXPECT_EQ(by_name.size(), methods.size()) << "two methods of one name";
  EXPECT_TRUE(by_name.at("coss").at("needs").at("teacher").get<bool>());
  EXPECT_TRUE(by_name.at("coss").at("needs").at("neighbors").get<bool>());
  EXPECT_EQ(by_name.at("coss").at("options").at("student_temperature").at("default"), 0.1);
  EXPECT_TRUE(by_name.at("supervised").at("needs").at("labels").get<bool>());
  EXPECT_FALSE(by_name.at("supervised").at("needs").at("teacher").get<bool>());

  EXPECT_EQ(nlohmann::json::parse(run("methods coss --json").out).at("methods").size(), 1u);
  EXPECT_TRUE(contains(run("methods").out, "supervised"));
  EXPECT_TRUE(contains(run("methods coss").out, "student_temperature"));
  const Outcome unknown = run("methods cos");
  EXPECT_EQ(unknown.code, 1);
  EXPECT_TRUE(contains(unknown.err, "coss")) << unknown.err;
}

TEST(Cli, LossesAreTimedAlone) {
  const Outcome outcome = run(
      "bench losses --json --steps 1 --batch 5 --width 12 --classes 7 --map 3 --channels 6 --queue 33 --queue-width 8 "
      "--negatives 9 --bank 40");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const auto losses = nlohmann::json::parse(outcome.out).at("losses");
  for (const char* name : {"coss", "seed", "rkd", "crd"}) {
    EXPECT_GT(losses.at(name).at("seconds").get<double>(), 0) << name;
    EXPECT_GE(losses.at(name).at("pool_bytes").get<int64_t>(), 0) << name;
  }
  EXPECT_TRUE(contains(run("bench losses --methods cos").err, "coss"));
}

TEST(Progress, Line) {
  const ProgressState state{120, 2000, {{"loss", -1.25}}, 0.03, 1234.4, 0.02, 62};
  EXPECT_EQ(format_progress(state), "step 120/2000  loss -1.25  lr 0.03  1234 img/s  wait 2 %  left 1:02");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(-1), "?");
}

}  // namespace
}  // namespace coss
