#!/usr/bin/env bash
# Builds everything and runs every test. Arguments go to ctest: ./test.sh -R tools
set -euo pipefail
cd "$(dirname "$0")"

scripts/install_dependencies.sh
cmake --preset cpu >/dev/null
cmake --build --preset cpu
result=0
ctest --preset cpu "$@" || result=$?
awk '/: Skipped$/ { getline reason; ++count[reason]; ++all }
     END { print "skipped: " all + 0; for (reason in count) print "  " count[reason] "  " reason }' \
  build/cpu/Testing/Temporary/LastTest.log
exit $result
