// Numbers, files and terminals that broke the program: each test is named after the fault that it holds down.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/support/program.h"
#include "tests/support/support.h"

namespace coss {
namespace {

namespace fs = std::filesystem;

using test::contains;
using test::Outcome;
using test::run_program;

TEST(Faults, A4NumbersOutOfBoundsAreRefused) {
  const std::string knn = "eval knn --model resnet20_cifar --weights x --data y ";
  for (const std::string& options :
       {knn + "--std 0 0 0", knn + "--mean nan nan nan", knn + "--temperature nan", knn + "--temperature 0.001",
        knn + "--size -5", knn + "--k 0", knn + "--workers 0", knn + "--batch 99999999999",
        std::string("mine --features x --out y --memory nan"), std::string("mine --features x --out y --k -1")}) {
    const Outcome outcome = run_program(options);
    EXPECT_EQ(outcome.code, 2) << options;
    EXPECT_TRUE(contains(outcome.err, "is not at least ")) << options << ": " << outcome.err;
  }
  const std::string recipe = test::scratch_folder() + "/recipe.json";
  test::write_file(recipe,
                   R"({"data": {"path": "x"}, "student": {"model": "resnet18"}, "method": {"name": "simclr"}})");
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"data.workers", "2147483647"},
                                                        {"neighbors.pool", "-1"},
                                                        {"data.stddev", "[1e38,1,1]"},
                                                        {"data.mean", "[124,116,104]"},
                                                        {"train.epochs", "9000000000000000000"},
                                                        {"threads", "20000"},
                                                        {"student.classes", "4611686018427387904"},
                                                        {"schedule.learning_rate", "1e300"}}) {
    const Outcome outcome = run_program("train " + recipe + " --dry-run '" + key + "=" + value + "'");
    EXPECT_EQ(outcome.code, 1) << key;
    EXPECT_TRUE(contains(outcome.err, key) && contains(outcome.err, "it must be at least ")) << outcome.err;
  }
}

TEST(Faults, D1ThreadsAreBounded) {
  const Outcome outcome = run_program("doctor --threads 99999");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(run_program("mine --features x --out y --threads 99999").code, 2);
}

std::string npy(const std::string& shape) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }";
  header.resize(117, ' ');
  header += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + char(header.size()) + '\0' + header;
}

TEST(Faults, D2FeaturesWithoutColumns) {
  const std::string folder = test::scratch_folder();
  test::write_file(folder + "/empty.npy", npy("(240, 0)"));
  const Outcome outcome = run_program("mine --features " + folder + "/empty.npy --out " + folder + "/out.npy");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(contains(outcome.err, "the features have no columns")) << outcome.err;
  EXPECT_FALSE(fs::exists(folder + "/out.npy"));
}

std::string features_of(int rows) {
  std::string bytes = npy("(" + std::to_string(rows) + ", 2)");
  for (int i = 0; i < 2 * rows; ++i) {
    const float value = float(i % 7) - 2.5f;
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return bytes;
}

TEST(Faults, C9NamedPipesAreRefused) {
  const std::string folder = test::scratch_folder(), pipe = folder + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& arguments : {"inspect " + pipe, "convert " + pipe + " " + folder + "/x.pth",
                                       "mine --features " + pipe + " --out " + folder + "/n.npy"}) {
    const Outcome outcome = run_program(arguments, "timeout 20");
    EXPECT_EQ(outcome.code, 1) << arguments;
    EXPECT_TRUE(contains(outcome.err, "it is not a regular file")) << outcome.err;
  }
}

TEST(Faults, C8TheUsualNumberOfNeighborsIsCutOnSmallData) {
  const std::string folder = test::scratch_folder();
  test::write_file(folder + "/f.npy", features_of(20));
  const std::string mine = "mine --features " + folder + "/f.npy --out " + folder + "/n.npy";
  const Outcome cut = run_program(mine);
  EXPECT_EQ(cut.code, 0) << cut.err;
  EXPECT_TRUE(contains(cut.out, "the 19 nearest")) << cut.out;
  const Outcome asked = run_program(mine + " --force --k 384");
  EXPECT_EQ(asked.code, 1);
  EXPECT_TRUE(contains(asked.err, "20 images have at most 19 neighbors")) << asked.err;
}

// Runs the program with other streams than the test's.
Outcome run_with(const std::string& arguments, const std::string& streams) {
  return run_program(arguments, "bash -o pipefail -c '\"$0\" \"$@\" " + streams + "'");
}

TEST(Faults, C5TheShareOfBrokenImagesIsStated) {
  const std::string folder = test::scratch_folder();
  ASSERT_EQ(run_program("draw --out " + folder + "/images --classes 2 --per-class 8 --test-per-class 0 --size 32").code,
            0);
  for (const char* name : {"a", "b", "c"}) test::write_file(folder + "/images/train/" + name + ".jpg", "no image");
  const std::string flat = folder + "/flat";
  fs::create_directories(flat);
  int images = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder + "/images"))
    if (entry.is_regular_file()) fs::copy(entry, flat + "/" + std::to_string(images++) + ".jpg");
  test::write_file(flat + "/notes.md", "x");
  const std::string embed = "embed --model resnet20_cifar --weights '' --size 32 --data " + flat + " --out " + folder;
  const Outcome refused = run_program(embed + "/first");
  EXPECT_EQ(refused.code, 1);
  EXPECT_TRUE(contains(refused.err, "more than the allowed share of 0.01")) << refused.err;
  EXPECT_TRUE(contains(refused.err, "--broken")) << refused.err;
  const Outcome taken = run_program(embed + "/second --broken 0.5");
  EXPECT_EQ(taken.code, 0) << taken.err;
  EXPECT_TRUE(contains(taken.err, "1 files are no images: 1 .md")) << taken.err;
}

TEST(Faults, B10OutputThatIsLostIsAnError) {
  const std::string folder = test::scratch_folder();
  test::write_file(folder + "/f.npy", features_of(20));
  const std::string inspect = "inspect " + folder + "/f.npy";
  for (const std::string& arguments : {inspect + " --json", inspect, std::string("models")}) {
    const Outcome full = run_with(arguments, "> /dev/full");
    EXPECT_EQ(full.code, 1) << arguments;
    EXPECT_TRUE(contains(full.err, "cannot write the output: No space left")) << full.err;
  }
  EXPECT_EQ(run_with(inspect, "2> /dev/full").code, 0);
  // A closed descriptor is not given to a file.
  EXPECT_EQ(run_with(inspect, ">&-").code, 0);
  EXPECT_EQ(run_with("mine --features " + folder + "/f.npy --out " + folder + "/n.npy", ">&- 2>&-").code, 0);
  EXPECT_EQ(test::read_file(folder + "/n.npy").substr(1, 5), "NUMPY");
  // A reader that has seen enough is no error.
  EXPECT_EQ(run_with("methods", "| head -n 1").code, 0);
}

TEST(Faults, ENamesInFilesNeverReachTheTerminal) {
  const std::string folder = test::scratch_folder(), evil =
                                                         "\x1b]0;x\x07\xc2\x9b"
                                                         "2J\xe2\x80\xae\xff";
  const std::string in_json =
      "\\u001b]0;x\\u0007\xc2\x9b"
      "2J\xe2\x80\xae";
  const auto harmless = [](const Outcome& outcome) {
    for (const std::string& text : {outcome.out, outcome.err}) {
      EXPECT_EQ(text.find_first_of("\x1b\x07"), std::string::npos) << text;
      EXPECT_FALSE(contains(text, "\xc2\x9b") || contains(text, "\xe2\x80\xae") || contains(text, "\xff")) << text;
    }
  };
  const auto safetensors = [&](const std::string& name, const std::string& header) {
    std::string bytes(8, '\0');
    bytes[0] = char(header.size() & 255);
    bytes[1] = char(header.size() >> 8);
    test::write_file(folder + "/" + name, bytes + header + "1234");
    harmless(run_program("inspect " + folder + "/" + name));
    harmless(run_program("convert " + folder + "/" + name + " " + folder + "/out.pth"));
    harmless(run_program("convert --model resnet18 " + folder + "/" + name + " " + folder + "/out.pth"));
  };
  const std::string rest = R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  safetensors("name.safetensors", "{\"" + in_json + rest);
  safetensors("dtype.safetensors", R"({"a":{"dtype":")" + in_json + R"(","shape":[1],"data_offsets":[0,4]}})");
  safetensors("key.safetensors", R"({"__metadata__":{")" + in_json + R"(":")" + in_json + "\"},\"a" + rest);
  safetensors("outside.safetensors", "{\"" + in_json + R"(":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}})");
  safetensors("broken.safetensors", "{\"" + in_json);
  // Names of files, folders, methods, keys and options.
  test::write_file(folder + "/" + evil + ".safetensors", "x");
  harmless(run_program("inspect '" + folder + "/" + evil + ".safetensors'"));
  fs::create_directories(folder + "/data/" + evil);
  harmless(run_program("embed --model resnet18 --weights '" + folder + "/" + evil + "' --data '" + folder +
                       "/data' --out '" + folder + "/o'"));
  test::write_file(folder + "/recipe.json", "{\"" + in_json + "\": 1, \"method\": {\"name\": \"" + in_json + "\"}}");
  harmless(run_program("train " + folder + "/recipe.json --dry-run"));
  harmless(run_program("methods '" + evil + "'"));
  harmless(run_program("'" + evil + "'"));
  harmless(run_program("inspect '--" + evil + "'"));
}

}  // namespace
}  // namespace coss
