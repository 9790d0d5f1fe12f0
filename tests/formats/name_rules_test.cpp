// Name rules: the published tables that map the names of one library to those of another, used in both directions.
#include "formats/name_rules.h"

#include <fstream>
#include <map>
#include <sstream>

#include "formats/layouts.h"
#include "models/network.h"
#include "tests/formats/format_support.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

// A line of names that mean the same tensor; the first line has the libraries.
using Table = std::vector<std::vector<std::string>>;

Table read_table(const std::string& path) {
  Table table;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    table.emplace_back();
    std::istringstream fields(line);
    for (std::string field; std::getline(fields, field, '\t');) table.back().push_back(field);
  }
  return table;
}

NameRule rule_of(const std::string& library) {
  return library == "timm" ? NameRule::timm : library == "lukemelas" ? NameRule::lukemelas : NameRule::dli14;
}

struct Case {
  const char *table, *torchvision;
  std::vector<const char*> others;  // manifests, in the order of the table's columns
};
const Case kCases[] = {
    {"MAP_efficientnet_b0", "torchvision_efficientnet_b0", {"timm_efficientnet_b0", "lukemelas_efficientnet_b0"}},
    {"MAP_mobilenetv3_large",
     "torchvision_mobilenet_v3_large",
     {"timm_mobilenetv3_large_100", "dli14_mobilenetv3_large"}},
    {"MAP_mobilenetv3_small",
     "torchvision_mobilenet_v3_small",
     {"timm_mobilenetv3_small_100", "dli14_mobilenetv3_small"}}};

TEST(NameRules, PublishedTablesHoldInBothDirections) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "the shared folder is missing";
  const std::string keys = *shared + "/reference/keys/";
  for (const Case& c : kCases) {
    const Table table = read_table(keys + c.table + ".tsv");
    ASSERT_FALSE(table.empty());
    const std::vector<WantedTensor> wanted = wanted_from(read_manifest(keys + c.torchvision + ".tsv"));
    for (size_t column = 1; column < table[0].size(); ++column) {
      SCOPED_TRACE(std::string(c.table) + " " + table[0][column]);
      const Named manifest = read_manifest(keys + c.others[column - 1] + ".tsv");
      std::map<std::string, std::string> theirs;  // by torchvision's
      for (const auto& line : table) theirs[line[0]] = line[column];
      std::map<std::string, std::vector<int64_t>> shapes(manifest.begin(), manifest.end());

      // Written: every tensor gets the name of the table and the shape of the library.
      const std::vector<WantedTensor> names = spelled(rule_of(table[0][column]), wanted);
      ASSERT_EQ(names.size(), wanted.size());
      EXPECT_EQ(names.size(), wanted_from(manifest).size());
      for (size_t i = 0; i < names.size(); ++i) {
        EXPECT_EQ(names[i].name, theirs.at(wanted[i].name));
        EXPECT_EQ(names[i].shape, shapes[names[i].name]) << names[i].name;
      }
      // Read: every tensor is found under that name, and nothing is left over.
      const TensorFile file = hollow_file(manifest);
      const LayoutMatch match = match_layout(file, wanted);
      EXPECT_EQ(match.layout_name(), table[0][column]);
      EXPECT_EQ(match.names_of(), table[0][column]);
      EXPECT_TRUE(match.complete() && !match.by_order);
      EXPECT_TRUE(match.unexpected.empty());
      for (size_t i = 0; i < wanted.size(); ++i) EXPECT_EQ(match.tensors[i]->name, theirs.at(wanted[i].name));
    }
  }
}

TEST(NameRules, AStudentInAnotherLibrarysNames) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "the shared folder is missing";
  const std::string keys = *shared + "/reference/keys/";
  const std::vector<WantedTensor> wanted = wanted_from(read_manifest(keys + "torchvision_efficientnet_b0.tsv"));
  for (const auto& [prefix, layout] : {std::pair{"state_dict.module.student.", "coss"}, std::pair{"x.", "unlisted"},
                                       std::pair{"state_dict.backbone.", "lukemelas"}}) {
    Named tensors = read_manifest(keys + "lukemelas_efficientnet_b0.tsv");
    for (auto& [name, shape] : tensors) name = prefix + name;
    const LayoutMatch match = match_names(hollow_file(tensors), wanted);
    EXPECT_EQ(match.complete(), layout != std::string("unlisted"));
    if (!match.complete()) continue;
    EXPECT_EQ(match.layout_name(), layout);
    EXPECT_EQ(match.names_of(), "lukemelas") << "whose padding it needs";
  }
}

TEST(NameRules, TimmsMobileNetV2) {
  Params params;
  const auto network = find_model("mobilenet_v2").make(Scope(params), 1000);
  std::vector<WantedTensor> wanted;
  for (const Params::Entry& entry : params.entries()) {
    wanted.push_back({entry.name, {entry.shape.dims.begin(), entry.shape.dims.begin() + entry.shape.rank}});
  }
  const std::vector<WantedTensor> names = spelled(NameRule::timm, wanted);
  std::map<std::string, std::string> timm;
  for (size_t i = 0; i < names.size(); ++i) timm[wanted[i].name] = names[i].name;
  EXPECT_EQ(timm.count(""), 0u);
  for (const auto& [torchvision, expected] :
       std::map<std::string, std::string>{{"features.0.0.weight", "conv_stem.weight"},
                                          {"features.0.1.bias", "bn1.bias"},
                                          {"features.1.conv.0.0.weight", "blocks.0.0.conv_dw.weight"},
                                          {"features.1.conv.1.weight", "blocks.0.0.conv_pw.weight"},
                                          {"features.1.conv.2.bias", "blocks.0.0.bn2.bias"},
                                          {"features.3.conv.0.1.weight", "blocks.1.1.bn1.weight"},
                                          {"features.3.conv.1.0.weight", "blocks.1.1.conv_dw.weight"},
                                          {"features.5.conv.2.weight", "blocks.2.1.conv_pwl.weight"},
                                          {"features.17.conv.3.running_var", "blocks.6.0.bn3.running_var"},
                                          {"features.18.0.weight", "conv_head.weight"},
                                          {"features.18.1.weight", "bn2.weight"},
                                          {"classifier.1.bias", "classifier.bias"}}) {
    EXPECT_EQ(timm[torchvision], expected);
  }
}

TEST(NameRules, OtherNetworksHaveNoSuchNames) {
  const std::vector<WantedTensor> resnet{{"conv1.weight", {64, 3, 7, 7}}, {"layer1.0.bn1.weight", {64}}};
  for (const NameRule rule : {NameRule::timm, NameRule::lukemelas, NameRule::dli14}) {
    for (const WantedTensor& want : spelled(rule, resnet)) EXPECT_EQ(want.name, "");
  }
}

}  // namespace
}  // namespace coss::test
