// The entry of the `coss` program.
#include "tools/command.h"

int main(int argc, char** argv) { return coss::run_program(argc, argv); }
