// `coss doctor`: what this machine computes with, and what is missing.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "engine/kernels.h"
#include "tools/command.h"
#include "tools/commands.h"

namespace coss {
namespace {

DeviceInfo info_of(Device device) {
  DeviceInfo info;
  try {
    kernels(device).probe(info);
  } catch (const Error& error) {  // not in this build
    info.problem = error.what();
  }
  return info;
}

std::string dtype_list(const DeviceInfo& info) {
  std::string text;
  for (DType dtype : info.fast) text += (text.empty() ? "" : ", ") + std::string(name_of(dtype));
  return text;
}

void print(Device device, const DeviceInfo& info) {
  constexpr double kGiB = 1 << 30;
  const auto line = [](const std::string& name, const std::string& value) { fmt::print("  {:<24} {}\n", name, value); };
  fmt::print("{}\n", name_of(device));
  line("usable", info.problem.empty() ? "yes" : "no: " + info.problem);
  if (!info.name.empty()) line("processor", info.name);
  if (info.memory_bytes > 0)
    line("memory",
         fmt::format("{:.1f} GiB, {:.1f} free", double(info.memory_bytes) / kGiB, double(info.free_bytes) / kGiB));
  if (!info.fast.empty()) line("fast dtypes", dtype_list(info));
  for (const auto& [name, version] : info.versions) line(name, version);
}

nlohmann::ordered_json to_json(const DeviceInfo& info) {
  nlohmann::ordered_json versions = nlohmann::ordered_json::object(), fast = nlohmann::ordered_json::array();
  for (const auto& [name, version] : info.versions) versions[name] = version;
  for (DType dtype : info.fast) fast.push_back(name_of(dtype));
  return {{"usable", info.problem.empty()},
          {"problem", info.problem},
          {"name", info.name},
          {"memory_bytes", info.memory_bytes},
          {"free_bytes", info.free_bytes},
          {"fast_dtypes", fast},
          {"versions", versions}};
}

void run_doctor(const CommonOptions& options) {
  nlohmann::ordered_json report = {{"coss", COSS_VERSION}};
  if (!options.json) fmt::print("coss {}\n", COSS_VERSION);
  for (Device device : {Device::cpu, Device::cuda}) {
    const DeviceInfo info = info_of(device);
    report[name_of(device)] = to_json(info);
    if (!options.json) print(device, info);
  }
  if (options.json) fmt::print("{}\n", report.dump());
}

}  // namespace

void add_doctor(CLI::App& program) {
  CLI::App& command = *program.add_subcommand("doctor", "show what this machine computes with, and what is missing");
  auto options = std::make_shared<CommonOptions>();
  add_json(command, *options);
  add_example(command, "coss doctor");
  command.callback([options] { run_doctor(*options); });
}

}  // namespace coss
