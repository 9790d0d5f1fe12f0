// Event protobufs and their framing: u64 length, its masked crc32c, the message, its masked crc32c.
//   Event   { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
//   Summary { repeated Value value = 1; }    Value { string tag = 1; float simple_value = 2; }
#include "formats/event_file.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <vector>

#include "engine/check.h"
#include "formats/file_bytes.h"

namespace coss {
namespace {

constexpr int kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;  // wire types

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += char(uint8_t(value) | 0x80);
  out += char(value);
}

void put_key(std::string& out, int field, int wire) { put_varint(out, uint64_t(field << 3 | wire)); }

void put_little(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += char(uint8_t(value >> (8 * i)));
}

void put_bytes(std::string& out, int field, const std::string& value) {
  put_key(out, field, kBytes);
  put_varint(out, value.size());
  out += value;
}

std::string event_head() {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  std::string event;
  put_key(event, 1, kFixed64);
  put_little(event, std::bit_cast<uint64_t>(now.count()), 8);
  return event;
}

std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);  // Castagnoli, reflected
    table[i] = crc;
  }
  return table;
}

}  // namespace

uint32_t crc32c(const void* data, size_t bytes) {
  static const std::array<uint32_t, 256> table = crc_table();
  const auto* at = static_cast<const uint8_t*>(data);
  uint32_t crc = ~0u;
  for (size_t i = 0; i < bytes; ++i) crc = crc >> 8 ^ table[(crc ^ at[i]) & 0xff];
  return ~crc;
}

uint32_t masked_crc32c(const void* data, size_t bytes) { return std::rotr(crc32c(data, bytes), 15) + 0xA282EAD8u; }

EventFile::EventFile(const std::string& folder) {
  const std::chrono::seconds now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
  char host[256] = "localhost";
  ::gethostname(host, sizeof(host) - 1);
  const std::string stem =
      folder + "/events.out.tfevents." + std::to_string(now.count()) + "." + host + "." + std::to_string(::getpid());
  // "x" refuses an existing file, so that a second log within one second gets another name.
  path_ = stem;
  for (int attempt = 1; !(file_ = std::fopen(path_.c_str(), "wbxe")); ++attempt) {
    COSS_CHECK(errno == EEXIST && attempt < 1000, "cannot write " + path_ + ": " + std::strerror(errno));
    path_ = stem + "." + std::to_string(attempt);
  }
  std::string event = event_head();
  put_bytes(event, 3, "brain.Event:2");
  record(event);
  flush();
}

EventFile::~EventFile() { std::fclose(file_); }

void EventFile::scalar(const std::string& tag, int64_t step, double value) {
  std::string entry;
  put_bytes(entry, 1, tag);
  put_key(entry, 2, kFixed32);
  put_little(entry, std::bit_cast<uint32_t>(float(value)), 4);
  std::string summary;
  put_bytes(summary, 1, entry);
  std::string event = event_head();
  put_key(event, 2, kVarint);
  put_varint(event, uint64_t(step));
  put_bytes(event, 5, summary);
  record(event);
}

void EventFile::record(const std::string& event) {
  std::string out;
  put_little(out, event.size(), 8);
  put_little(out, masked_crc32c(out.data(), 8), 4);
  out += event;
  put_little(out, masked_crc32c(event.data(), event.size()), 4);
  COSS_CHECK(std::fwrite(out.data(), 1, out.size(), file_) == out.size(),
             "cannot write " + path_ + ": " + std::strerror(errno));
}

namespace {

// The step of an event, its field 2; 0 where it has none. Fields before it have a fixed width or a length.
int64_t step_of(const std::string& event) {
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0; at < event.size() && shift < 64; shift += 7) {
      const auto byte = uint8_t(event[at++]);
      value |= uint64_t(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (at < event.size()) {
    const uint64_t key = varint(), kind = key & 7;
    if (key == (2 << 3 | kVarint)) return int64_t(varint());
    if (kind == kVarint) {
      varint();
    } else if (kind == kBytes) {
      const uint64_t length = varint();
      at += size_t(std::min<uint64_t>(length, event.size() - at));
    } else {
      at += kind == kFixed32 ? 4 : 8;
    }
  }
  return 0;
}

}  // namespace

void cut_event_file(const std::string& path, int64_t step) {
  constexpr size_t kHead = 12, kSum = 4;  // length and its checksum; the event's checksum
  const FileBytes file(path);
  const std::vector<uint8_t> bytes = file.head(file.size());
  size_t end = 0;
  while (bytes.size() - end >= kHead + kSum) {
    const uint8_t* const record = bytes.data() + end;
    const uint64_t length = little_endian(record, 8);
    if (length > bytes.size() - end - kHead - kSum || little_endian(record + 8, 4) != masked_crc32c(record, 8)) break;
    const std::string event(record + kHead, record + kHead + length);
    const bool whole = little_endian(record + kHead + length, 4) == masked_crc32c(event.data(), event.size());
    if (!whole || step_of(event) > step) break;
    end += kHead + size_t(length) + kSum;
  }
  if (end < bytes.size()) std::filesystem::resize_file(path, end);
}

void EventFile::flush() { COSS_CHECK(std::fflush(file_) == 0, "cannot write " + path_ + ": " + std::strerror(errno)); }

}  // namespace coss
