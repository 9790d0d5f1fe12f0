// `coss methods`: lists the methods for method.name, what each needs, and its options.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "losses/method.h"
#include "tools/command.h"
#include "tools/commands.h"

namespace coss {
namespace {

struct MethodsOptions {
  CommonOptions common;
  std::string name;
};

std::vector<std::pair<const char*, bool>> needs_of(const MethodInfo& method) {
  const MethodInfo::Needs& needs = method.needs;
  return {{"teacher", needs.teacher},           {"labels", needs.labels}, {"teacher_logits", needs.teacher_logits},
          {"teacher_head", needs.teacher_head}, {"queue", needs.queue},   {"neighbors", needs.neighbors}};
}

int64_t usual_views(const MethodInfo& method) { return views_of(MethodOptions(method.name)); }

// "teacher, labels, 2 views"
std::string needs_in_words(const MethodInfo& method) {
  std::string words;
  const auto add = [&](const std::string& word) { words += (words.empty() ? "" : ", ") + word; };
  for (const auto& [need, wanted] : needs_of(method))
    if (wanted) add(need);
  if (const int64_t views = usual_views(method); views > 1) add(fmt::format("{} views", views));
  return words.empty() ? "nothing" : words;
}

nlohmann::ordered_json default_of(const MethodOption& option) {
  if (option.kind == OptionKind::flag) return option.value != 0;
  if (option.value == double(int64_t(option.value))) return int64_t(option.value);
  return option.value;
}

nlohmann::ordered_json to_json(const MethodInfo& method) {
  nlohmann::ordered_json needs, options = nlohmann::ordered_json::object();
  for (const auto& [need, wanted] : needs_of(method)) needs[need] = wanted;
  for (const MethodOption& option : method.options)
    options[option.name] = {{"default", default_of(option)}, {"values", values_of(option)}, {"help", option.help}};
  return {{"name", method.name},
          {"paper", method.paper},
          {"needs", needs},
          {"views", usual_views(method)},
          {"options", options}};
}

void print_table() {
  size_t name_width = 0, needs_width = 0;
  for (const MethodInfo& method : methods()) {
    name_width = std::max(name_width, std::string_view(method.name).size());
    needs_width = std::max(needs_width, needs_in_words(method).size());
  }
  fmt::print("{:<{}}  {:<{}}  paper\n", "name", name_width, "needs", needs_width);
  for (const MethodInfo& method : methods())
    fmt::print("{:<{}}  {:<{}}  {}\n", method.name, name_width, needs_in_words(method), needs_width, method.paper);
}

void print_one(const MethodInfo& method) {
  fmt::print("{}: {}\nneeds: {}\n", method.name, method.paper, needs_in_words(method));
  if (method.options.empty()) return;
  size_t width = 0;
  for (const MethodOption& option : method.options) width = std::max(width, std::string_view(option.name).size());
  fmt::print("options, as method.<name> in a recipe:\n");
  for (const MethodOption& option : method.options)
    fmt::print("  {:<{}} = {:<7} {} ({})\n", option.name, width, default_of(option).dump(), option.help,
               values_of(option));
}

void list_methods(const MethodsOptions& options) {
  const MethodInfo* one = options.name.empty() ? nullptr : &find_method(options.name);
  if (options.common.json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const MethodInfo& method : methods())
      if (!one || one == &method) list.push_back(to_json(method));
    fmt::print("{}\n", nlohmann::ordered_json{{"methods", list}}.dump());
  } else if (one) {
    print_one(*one);
  } else {
    print_table();
  }
}

}  // namespace

void add_methods(CLI::App& program) {
  auto options = std::make_shared<MethodsOptions>();
  CLI::App* command = program.add_subcommand("methods", "list the methods of training: what each needs, its options");
  command->add_option("name", options->name, "show only this method, with its options");
  add_json(*command, options->common);
  add_example(*command, "coss methods coss");
  command->callback([options] { list_methods(*options); });
}

}  // namespace coss
