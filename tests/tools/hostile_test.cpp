// Bad files of every kind that the program reads: each ends with exit code 1, one message that names the file, and
// nothing written.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "tests/support/program.h"
#include "tests/support/support.h"
#include "tools/drawn_images.h"

namespace coss {
namespace {

namespace fs = std::filesystem;
using test::read_file;
using test::write_file;

// Good files, made once; the tests damage copies of them.
struct Goods {
  std::string folder = test::scratch_folder(), images = folder + "/images", weights = folder + "/weights.safetensors",
              features = folder + "/features/features.npy", neighbors = folder + "/neighbors.npy";

  Goods() {
    draw_folder({.classes = 2, .per_class = 8, .test_per_class = 4, .size = 32, .seed = 2}, images);
    const std::string model = "--model resnet20_cifar --batch 8 --threads 2 ";
    write_file(folder + "/teacher.json",
               R"({"dtype": "fp32", "threads": 2, "data": {"image_size": 32, "augmentation": "cifar"},
                   "student": {"model": "resnet20_cifar"}, "method": {"name": "supervised"},
                   "train": {"batch": 8, "max_steps": 2}})");
    must_work("train " + folder + "/teacher.json data.path=" + images + " --out " + folder + "/run");
    fs::copy_file(folder + "/run/student.safetensors", weights);
    must_work("embed " + model + "--weights " + weights + " --data " + images + " --out " + folder + "/features");
    must_work("mine --features " + features + " --k 3 --out " + neighbors);
  }
  static void must_work(const std::string& arguments) {
    const test::Outcome outcome = test::run_program(arguments);
    EXPECT_EQ(outcome.code, 0) << arguments << "\n" << outcome.err;
  }
};

const Goods& goods() {
  static const Goods it;
  return it;
}

// Every entry below a folder with its size.
std::vector<std::string> listing(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    names.push_back(entry.path().string() + (entry.is_regular_file() ? std::to_string(entry.file_size()) : ""));
  std::sort(names.begin(), names.end());
  return names;
}

// `arguments` may use OUT, a path that must not exist afterwards.
void expect_refusal(std::string arguments, const std::string& must_name) {
  const std::string folder = test::scratch_folder(), out = folder + "/out";
  if (const size_t at = arguments.find("OUT"); at != std::string::npos) arguments.replace(at, 3, out);
  const auto before = listing(goods().folder);
  const test::Outcome outcome = test::run_program(arguments);
  EXPECT_EQ(outcome.code, 1) << arguments << "\n" << outcome.out << outcome.err;
  EXPECT_NE(outcome.err.find("coss: "), std::string::npos) << arguments << "\n" << outcome.err;
  EXPECT_NE(outcome.err.find(must_name), std::string::npos) << arguments << "\n" << outcome.err;
  EXPECT_TRUE(fs::is_empty(folder)) << arguments << " left something behind";
  EXPECT_EQ(listing(goods().folder), before) << arguments << " changed its input";
}

std::string spoiled(const std::string& name, const std::string& bytes) {
  const std::string path = test::scratch_folder() + "/" + name;
  write_file(path, bytes);
  return path;
}

std::string half(const std::string& path) {
  const std::string bytes = read_file(path);
  return bytes.substr(0, bytes.size() / 2);
}

// The first block of a tar archive; `size` is written as it stands.
std::string tar_header(const std::string& name, const std::string& size) {
  std::string block(512, '\0');
  block.replace(0, name.size(), name).replace(124, size.size(), size).replace(148, 8, 8, ' ').replace(257, 5, "ustar");
  unsigned sum = 0;
  for (char c : block) sum += uint8_t(c);
  for (size_t i = 6; i-- > 0; sum /= 8) block[148 + i] = char('0' + sum % 8);
  block[154] = '\0';
  return block;
}

const std::string kEval = "eval knn --batch 8 --threads 2 --k 1 --model resnet20_cifar ";

TEST(Hostile, Checkpoints) {
  const std::string data = " --data " + goods().images;
  const std::string good = read_file(goods().weights);
  // A pickle that would call os.system, inside of a legacy container and alone.
  const std::string calls_system = std::string("\x80\x02") + "cos\nsystem\nX\x04\0\0\0true\x85R.";
  const std::string magic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", 15);
  const std::string start = magic + std::string("\x80\x02M\xe9\x03.\x80\x02}q\x00.", 13);
  // An instance of a class whose state only its code would understand.
  const std::string instance = std::string("cos\nsystem\n)\x81X\x04\0\0\0trueb.", 24);
  for (const auto& [name, bytes] : std::vector<std::pair<std::string, std::string>>{
           {"empty.pth", ""},
           {"half.safetensors", good.substr(0, good.size() / 2)},
           {"huge_header.safetensors", std::string("\xff\xff\xff\xff\xff\xff\xff\x7f", 8) + "{}"},
           {"text.pth", "these are not the weights you are looking for"},
           {"system.pth", start + calls_system},
           {"instance.pth", start + instance},
           {"huge_member.pth", tar_header("storages", "77777777777")},
           {"no_members.pth", tar_header("letter.txt", "0")},
           {"cut.npz", half(test::golden_path("formats/stored.npz"))},
           {"cut.npy", half(test::golden_path("formats/c_order.npy"))},
           {"bare_pickle.pth", calls_system},
           {"zip.pth", std::string("PK\x03\x04", 4) + std::string(100, '\x07')}}) {
    const std::string path = spoiled(name, bytes);
    expect_refusal(kEval + "--weights " + path + data, name);
    expect_refusal("inspect " + path, name);
  }
  expect_refusal(kEval + "--weights /nonexistent/weights.pth" + data, "/nonexistent/weights.pth");
  expect_refusal("eval knn --model resnet18 --threads 2 --weights " + goods().weights + data, goods().weights);
}

TEST(Hostile, CheckpointsOfTheSharedFolder) {
  const auto shared = test::shared_folder();
  if (!shared) GTEST_SKIP() << "no shared folder: set COSS_SHARED";
  for (const char* file : {"fixtures/burn-reader/broken.pt", "fixtures/truncated/resnet18-5c106cde.pth"})
    expect_refusal("inspect " + *shared + "/checkpoints/" + file, file);
}

TEST(Hostile, Images) {
  const std::string weights = "--weights " + goods().weights;
  // Class folders with nothing readable in them: every image is broken, which is more than one in a hundred.
  const std::string folder = test::scratch_folder() + "/broken";
  for (const char* split : {"train", "val"})
    for (const char* label : {"a", "b"}) {
      const std::string place = folder + "/" + split + "/" + label;
      fs::create_directories(place);
      for (int i = 0; i < 4; ++i)
        write_file(place + "/" + std::to_string(i) + ".jpg", i % 2 ? "" : "\xff\xd8\xff no JPEG");
    }
  expect_refusal(kEval + weights + " --data " + folder, "broken");
  expect_refusal("embed --batch 8 --model resnet20_cifar " + weights + " --data " + folder + " --out OUT", "broken");
  const std::string empty = test::scratch_folder();
  expect_refusal(kEval + weights + " --data " + empty, empty);
  expect_refusal(kEval + weights + " --data /nonexistent", "/nonexistent");
}

TEST(Hostile, CifarBinaries) {
  const std::string folder = test::scratch_folder();
  for (int i = 1; i <= 5; ++i)
    write_file(folder + "/data_batch_" + std::to_string(i) + ".bin", std::string(3073 * 2, '\1'));
  write_file(folder + "/test_batch.bin", std::string(3000, '\1'));
  expect_refusal(kEval + "--weights " + goods().weights + " --data " + folder, "test_batch.bin");
  write_file(folder + "/test_batch.bin", std::string(3073, '\x63'));  // label 99
  expect_refusal(kEval + "--weights " + goods().weights + " --data " + folder, "test_batch.bin");
}

TEST(Hostile, NumpyFiles) {
  const std::string good = read_file(goods().features);
  std::string huge = good;
  const size_t shape = huge.find("(16");
  ASSERT_NE(shape, std::string::npos);
  huge.replace(shape, 4, "(9e9");
  for (const auto& [name, bytes] : std::vector<std::pair<std::string, std::string>>{
           {"half.npy", half(goods().features)}, {"empty.npy", ""}, {"text.npy", "1 2 3"}, {"huge.npy", huge}})
    expect_refusal("mine --k 2 --out OUT --features " + spoiled(name, bytes), name);
  expect_refusal("mine --k 16 --out OUT --features " + goods().features, "k = 16");
}

TEST(Hostile, RecipesAndNeighbors) {
  auto train = [&](const std::string& recipe, const std::string& more = "") {
    return "train " + recipe + " data.path=" + goods().images + " " + more + " --out OUT";
  };
  const std::string teacher = goods().folder + "/teacher.json";
  expect_refusal(train(spoiled("half.json", half(teacher))), "half.json");
  expect_refusal(train(spoiled("binary.json", std::string("\0\1\2", 3))), "binary.json");
  expect_refusal(train(spoiled("list.json", "[1, 2]")), "list.json");
  expect_refusal(train("/nonexistent.json"), "/nonexistent.json");
  expect_refusal(train(teacher, "train.bach=8"), "train.batch");
  expect_refusal(train(teacher, "student.weights=" + spoiled("text.pth", "no weights")), "text.pth");
  const std::string coss = "method.name=coss teacher.model=resnet20_cifar neighbors.nearest=3 neighbors.pool=3 ";
  expect_refusal(train(teacher, coss + "teacher.weights=" + spoiled("teacher.pth", "no weights")), "teacher.pth");
}

TEST(Hostile, BadNeighborsLeaveNoCheckpoint) {
  const std::string bad = spoiled("neighbors.npy", half(goods().neighbors));
  const std::string out = test::scratch_folder() + "/run";
  const test::Outcome outcome =
      test::run_program("train " + goods().folder + "/teacher.json data.path=" + goods().images +
                        " neighbors.nearest=3 " + "neighbors.pool=3 neighbors.file=" + bad + " --out " + out);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("neighbors.npy"), std::string::npos) << outcome.err;
  EXPECT_FALSE(fs::exists(out));
}

TEST(Hostile, ADamagedCheckpointIsNotResumed) {
  const std::string out = test::scratch_folder() + "/run";
  fs::copy(goods().folder + "/run", out, fs::copy_options::recursive);
  const std::string state = out + "/checkpoints/step_00000002/trainer.safetensors";
  write_file(state, half(state));
  const test::Outcome outcome = test::run_program(
      "train " + goods().folder + "/teacher.json data.path=" + goods().images + " --out " + out + " --resume");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("trainer.safetensors"), std::string::npos) << outcome.err;
}

TEST(Hostile, AFullDiskLeavesNothingHalfWritten) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const test::Outcome outcome =
      test::run_program("mine --features " + goods().features + " --k 2 --out /dev/full/x.npy");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("/dev/full"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace coss
