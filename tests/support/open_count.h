// How often a file is opened, as the system sees it (inotify).
#pragma once
#include <string>

namespace coss::test {

// Counts from construction on, in this process and in all others.
class OpenCount {
 public:
  explicit OpenCount(const std::string& path);
  OpenCount(const OpenCount&) = delete;
  OpenCount& operator=(const OpenCount&) = delete;
  ~OpenCount();

  // False where the system has no inotify to give.
  bool works() const { return watch_ >= 0; }
  // How often the file was opened so far. The system joins equal events that follow each other, so that two openings
  // count as one if the file is neither read nor closed between them.
  int count();

 private:
  int inotify_ = -1, watch_ = -1, count_ = 0;
};

}  // namespace coss::test
