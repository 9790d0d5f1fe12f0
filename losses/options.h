// The options of a method. Each method keeps its own in a plain struct, and the struct lists them:
//
//   struct MyOptions {
//     float temperature = 0.04f;
//     void list(OptionList& row) { row.positive("temperature", temperature, "the distances are divided by it"); }
//   };
//
// So name, type, default, bounds, help and the place of the value stand together. rows_of<MyOptions>() gives the rows
// of `coss methods` and the keys under `method.` of a recipe; read<MyOptions>(values) gives the struct with the values
// of a recipe. Options that several methods share are structs with list() in losses/frame/.
#pragma once
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace coss {

enum class OptionKind : uint8_t { number, whole, flag };  // a flag is 0 or 1 in MethodOptions

struct MethodOption {
  const char* name;
  double value;  // the default
  std::string help;
  OptionKind kind = OptionKind::number;
  double least = 0, most = std::numeric_limits<double>::max();
  bool least_excluded = false, most_excluded = false;

  bool takes(double number) const;  // a whole number where it must be one, and within the bounds
};
// "true or false", "a whole number of at least 1", "a number above 0 and at most 1"
std::string values_of(const MethodOption& option);

// Values of a method's options by name; each has its place in the recipe under `method.`.
class MethodOptions {
 public:
  MethodOptions() = default;
  explicit MethodOptions(const std::string& method);   // with the defaults of the method
  double operator[](const std::string& option) const;  // COSS_ASSERTs that the method has it

  std::string name;
  std::map<std::string, double> values;
};

// What a struct's list() is called with: it gathers the rows, and sets the members where it has values.
class OptionList {
 public:
  OptionList() = default;
  explicit OptionList(const MethodOptions& values) : values_(&values) {}

  // Number is float or double. Each throws Error that names the option if its value is out of bounds.
  template <class Number>
  void number(const char* name, Number& member, std::string help) {  // at least 0
    member = Number(put({name, decimal(member), std::move(help)}));
  }
  template <class Number>
  void positive(const char* name, Number& member, std::string help) {
    member = Number(put({.name = name, .value = decimal(member), .help = std::move(help), .least_excluded = true}));
  }
  template <class Number>
  void share(const char* name, Number& member, std::string help) {  // above 0, at most 1
    member = Number(
        put({.name = name, .value = decimal(member), .help = std::move(help), .most = 1, .least_excluded = true}));
  }
  template <class Number>
  void below_one(const char* name, Number& member, std::string help) {  // from 0 on
    member = Number(
        put({.name = name, .value = decimal(member), .help = std::move(help), .most = 1, .most_excluded = true}));
  }
  void count(const char* name, int64_t& member, std::string help, int64_t least = 1);
  void flag(const char* name, bool& member, std::string help);

  std::vector<MethodOption> rows() { return std::move(rows_); }

 private:
  // Adds the row; returns the option's value, which is the default where there are no values.
  double put(MethodOption row);
  static double decimal(double value) { return value; }
  static double decimal(float value);  // 0.1 for 0.1f

  const MethodOptions* values_ = nullptr;
  std::vector<MethodOption> rows_;
};

template <class Options>
std::vector<MethodOption> rows_of() {
  Options options;
  OptionList list;
  options.list(list);
  return list.rows();
}

template <class Options>
Options read(const MethodOptions& values) {
  Options options;
  OptionList list(values);
  options.list(list);
  return options;
}

}  // namespace coss
