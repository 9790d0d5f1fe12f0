// Checks. COSS_CHECK states in words what a caller got wrong; COSS_ASSERT guards what only a bug can break.
#pragma once
#include <stdexcept>
#include <string>

namespace coss {

// An error the user can mend: bad file, bad option, bad shape. The program prints what() and exits with 1.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

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
