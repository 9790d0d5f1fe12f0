// Checkpoints in every published layout and container (tests/goldens/make/make_layout_files.py) are recognized without
// help, and give the features that PyTorch gives.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "evaluation/loaded_network.h"
#include "tests/support/golden_file.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

TEST(PublishedFiles, GiveTheFeaturesOfPyTorch) {
  const char* folder = std::getenv("COSS_LAYOUT_FILES");
  if (!folder)
    GTEST_SKIP() << "COSS_LAYOUT_FILES is not set: make the files with tests/goldens/make/make_layout_files.py";
  std::ifstream stream(std::string(folder) + "/index.json");
  const auto index = nlohmann::json::parse(stream);
  ASSERT_FALSE(index.empty());
  for (const auto& row : index) {
    SCOPED_TRACE(row["file"].get<std::string>());
    const auto loaded =
        load_network(Checkpoint(std::string(folder) + "/" + row["file"].get<std::string>(), row["model"]),
                     Classifier::optional, Device::cpu, DType::f32);
    const Var images(golden_images("images", 2, row["size"], 0, DType::f32, Device::cpu));
    const std::vector<double> wanted = row["features"];
    EXPECT_LT(normalized_error((*loaded)->features(images, Mode::eval).value.to_doubles(), wanted), 1e-10)
        << loaded->report;
  }
}

}  // namespace
}  // namespace coss::test
