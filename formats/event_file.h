// EventFile: TensorBoard's scalar log, protobuf records with masked crc32c, encoded here by hand.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>

namespace coss {

class EventFile {
 public:
  // A new "events.out.tfevents.<seconds>.<host>.<pid>" in an existing folder; TensorBoard merges the files of a folder.
  explicit EventFile(const std::string& folder);
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;
  ~EventFile();

  void scalar(const std::string& tag, int64_t step, double value);
  void flush();
  const std::string& path() const { return path_; }

 private:
  void record(const std::string& event);

  std::string path_;
  std::FILE* file_ = nullptr;
};

// Cuts the log at its first record of a step after `step`, or at its first damaged one: a resumed run writes them
// again.
void cut_event_file(const std::string& path, int64_t step);

uint32_t crc32c(const void* data, size_t bytes);
// A checksum as TensorFlow stores it: masked, because it is checksummed again.
uint32_t masked_crc32c(const void* data, size_t bytes);

}  // namespace coss
