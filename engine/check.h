// Checks. COSS_CHECK says in words what a caller got wrong; COSS_ASSERT is for what only a bug can break.
#pragma once
#include <stdexcept>
#include <string>

namespace coss {

// An error that the user can fix: a bad file, option or shape. The program prints what() and exits with 1.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn, gnu::cold, gnu::noinline]] inline void assertion_failed(const char* expression, const char* file,
                                                                    int line) {
  throw std::logic_error(std::string("internal error: ") + expression + " is false at " + file + ":" +
                         std::to_string(line));
}

}  // namespace coss

// COSS_CHECK(in == expected, "[conv2d] input has 3 channels, weight expects 4"): the message is any string expression.
#define COSS_CHECK(condition, message)              \
  do {                                              \
    if (!(condition)) throw ::coss::Error(message); \
  } while (false)

#define COSS_ASSERT(condition)                                                  \
  do {                                                                          \
    if (!(condition)) ::coss::assertion_failed(#condition, __FILE__, __LINE__); \
  } while (false)
