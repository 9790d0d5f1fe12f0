// Rows of options, their bounds, and their values.
#include "losses/options.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/check.h"

namespace coss {
namespace {

constexpr double kMostCount = 1 << 30;

}  // namespace

bool MethodOption::takes(double number) const {
  if (kind != OptionKind::number && number != std::floor(number)) return false;
  return (least_excluded ? number > least : number >= least) && (most_excluded ? number < most : number <= most);
}

std::string values_of(const MethodOption& option) {
  if (option.kind == OptionKind::flag) return "true or false";
  std::string text = option.kind == OptionKind::whole ? "a whole number" : "a number";
  text += fmt::format("{} {:g}", option.least_excluded ? " above" : " of at least", option.least);
  if (option.most < kMostCount)
    text += fmt::format("{} {:g}", option.most_excluded ? " and below" : " and at most", option.most);
  return text;
}

double MethodOptions::operator[](const std::string& option) const {
  const auto found = values.find(option);
  COSS_ASSERT(found != values.end());
  return found->second;
}

void OptionList::count(const char* name, int64_t& member, std::string help, int64_t least) {
  member = int64_t(put({name, double(member), std::move(help), OptionKind::whole, double(least), kMostCount}));
}

void OptionList::flag(const char* name, bool& member, std::string help) {
  member = put({name, member ? 1.0 : 0.0, std::move(help), OptionKind::flag, 0, 1}) != 0;
}

double OptionList::put(MethodOption row) {
  const double value = values_ ? (*values_)[row.name] : row.value;
  COSS_CHECK(row.takes(value), fmt::format("method.{} must be {}, found {:g}", row.name, values_of(row), value));
  rows_.push_back(std::move(row));
  return value;
}

double OptionList::decimal(float value) { return std::stod(fmt::format("{}", value)); }

}  // namespace coss
