// TensorBoard events, read back by a small parser; and files that appear only when complete.
#include "formats/event_file.h"

#include <sys/resource.h>
#include <unistd.h>

#include <bit>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "formats/atomic_file.h"
#include "tests/formats/format_support.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

template <class T>
T take(const std::string& bytes, size_t& at) {
  T value{};
  EXPECT_LE(at + sizeof(T), bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  at += sizeof(T);
  return value;
}

uint64_t take_varint(const std::string& bytes, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const uint8_t byte = take<uint8_t>(bytes, at);
    value |= uint64_t(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

// The fields of a message: numbers of fixed width as their bits, the rest as bytes.
struct Fields {
  std::map<uint64_t, uint64_t> numbers;
  std::map<uint64_t, std::string> texts;
};

Fields parse(const std::string& bytes) {
  Fields fields;
  for (size_t at = 0; at < bytes.size();) {
    const uint64_t key = take_varint(bytes, at);
    switch (key & 7) {
      case 0:
        fields.numbers[key >> 3] = take_varint(bytes, at);
        break;
      case 1:
        fields.numbers[key >> 3] = take<uint64_t>(bytes, at);
        break;
      case 5:
        fields.numbers[key >> 3] = take<uint32_t>(bytes, at);
        break;
      case 2: {
        const uint64_t length = take_varint(bytes, at);
        fields.texts[key >> 3] = bytes.substr(at, length);
        at += length;
        break;
      }
      default:
        ADD_FAILURE() << "unknown wire type";
        return fields;
    }
  }
  return fields;
}

std::vector<Fields> read_events(const std::string& path) {
  const std::string bytes = read_text(path);
  std::vector<Fields> events;
  for (size_t at = 0; at < bytes.size();) {
    const size_t start = at;
    const uint64_t length = take<uint64_t>(bytes, at);
    EXPECT_EQ(take<uint32_t>(bytes, at), masked_crc32c(bytes.data() + start, 8));
    const std::string event = bytes.substr(at, length);
    at += length;
    EXPECT_EQ(take<uint32_t>(bytes, at), masked_crc32c(event.data(), event.size()));
    events.push_back(parse(event));
  }
  return events;
}

TEST(EventFile, ChecksumIsCastagnolis) {
  EXPECT_EQ(crc32c("123456789", 9), 0xE3069283u);
  EXPECT_EQ(crc32c("", 0), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0').data(), 32), 0x8A9136AAu);
}

TEST(EventFile, ReadsBack) {
  const std::string folder = scratch_folder();
  EventFile log(folder), second(folder);
  EXPECT_NE(log.path(), second.path());
  log.scalar("loss/total", 0, 1.5);
  log.scalar("lr", int64_t(1) << 40, -0.03);
  log.flush();
  const std::vector<Fields> events = read_events(log.path());
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].texts.at(3), "brain.Event:2");
  EXPECT_GT(std::bit_cast<double>(events[0].numbers.at(1)), 1.6e9);
  const auto scalar = [&](const Fields& event) { return parse(parse(event.texts.at(5)).texts.at(1)); };
  EXPECT_EQ(scalar(events[1]).texts.at(1), "loss/total");
  EXPECT_EQ(events[1].numbers.at(2), 0u);
  EXPECT_EQ(std::bit_cast<float>(uint32_t(scalar(events[1]).numbers.at(2))), 1.5f);
  EXPECT_EQ(events[2].numbers.at(2), uint64_t(1) << 40);
  EXPECT_EQ(std::bit_cast<float>(uint32_t(scalar(events[2]).numbers.at(2))), -0.03f);
  expect_contains(error_of([] { EventFile("/no/such/folder"); }), "/no/such/folder");
}

TEST(Faults, B6EventFilesAreCut) {
  std::string path;
  {
    EventFile log(scratch_folder());
    for (const int64_t step : {1, 2, 300}) {
      log.scalar("loss", step, 1);
      log.scalar("rate", step, 1);
    }
    log.flush();
    path = log.path();
  }
  const std::string whole = read_text(path);
  cut_event_file(path, 300);
  EXPECT_EQ(read_text(path), whole);
  write_text(path, whole.substr(0, whole.size() - 3));  // torn by a kill
  cut_event_file(path, 300);
  EXPECT_EQ(read_events(path).size(), 6u);
  cut_event_file(path, 2);
  ASSERT_EQ(read_events(path).size(), 5u);
  EXPECT_EQ(read_events(path).back().numbers.at(2), 2u);
  cut_event_file(path, 0);
  EXPECT_EQ(read_events(path).size(), 1u);
  write_text(path, "");
  cut_event_file(path, 0);
  EXPECT_EQ(read_text(path), "");
}

TEST(AtomicFile, AppearsOnlyWithCommit) {
  const std::string folder = scratch_folder(), path = folder + "/file";
  write_text(path, "old");
  {
    AtomicFile file(path);
    file.write("half");
  }
  EXPECT_EQ(read_text(path), "old");
  write_file_atomically(path, "new");
  EXPECT_EQ(read_text(path), "new");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
  expect_contains(error_of([&] { AtomicFile(folder + "/none/file"); }), "No such file");
}

TEST(AtomicFile, AFullDiskIsAnError) {
  // A limit on the size of files acts as a full disk.
  const std::string path = scratch_folder() + "/file";
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const struct rlimit small = {1 << 16, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message = error_of([&] { write_file_atomically(path, std::string(1 << 20, 'x')); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  expect_contains(message, path);
  expect_contains(message, "File too large");
  EXPECT_TRUE(std::filesystem::is_empty(std::filesystem::path(path).parent_path()));
}

TEST(Faults, B7LeftoversOfKilledWritersAreRemoved) {
  const std::string folder = scratch_folder(), path = folder + "/file", digits = "0123456789abcdef";
  write_text(path + ".tmp-" + digits, "killed");
  write_text(path + ".tmp-123", "somebody else's");
  write_text(folder + "/other.tmp-" + digits, "of another file");
  std::filesystem::create_symlink("/dev/null", path + ".tmp-0000000000000000");
  {
    AtomicFile alive(path);
    write_file_atomically(path, "new");
    EXPECT_FALSE(std::filesystem::exists(path + ".tmp-" + digits));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 5) << "with the one that is open";
    alive.write("newer");
    alive.commit();
  }
  EXPECT_EQ(read_text(path), "newer");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 4);
}

}  // namespace
}  // namespace coss::test
