// The main function of every test program.
#include <gtest/gtest.h>

#include "tests/support/support.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  coss::test::register_reference_backend();
  return RUN_ALL_TESTS();
}
