// Asks the kernel; nothing of the program under test is replaced.
#include "tests/support/open_count.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cstring>

namespace coss::test {

OpenCount::OpenCount(const std::string& path) : inotify_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  // Reading and closing are watched too: they keep two openings apart.
  if (inotify_ >= 0) watch_ = inotify_add_watch(inotify_, path.c_str(), IN_OPEN | IN_ACCESS | IN_CLOSE);
}

OpenCount::~OpenCount() {
  if (inotify_ >= 0) close(inotify_);
}

int OpenCount::count() {
  char buffer[4096];
  for (ssize_t got = 0; (got = read(inotify_, buffer, sizeof(buffer))) > 0;) {
    for (ssize_t at = 0; at < got;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof(event));
      count_ += (event.mask & IN_OPEN) != 0;
      at += ssize_t(sizeof(event) + event.len);
    }
  }
  return count_;
}

}  // namespace coss::test
