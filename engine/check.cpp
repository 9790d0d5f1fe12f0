// The cold half of COSS_ASSERT.
#include "engine/check.h"

namespace coss {

void assertion_failed(const char* expression, const char* file, int line) {
  throw std::logic_error(std::string("internal error: ") + expression + " is false at " + file + ":" +
                         std::to_string(line));
}

}  // namespace coss
