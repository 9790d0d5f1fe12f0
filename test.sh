#!/usr/bin/env bash
# Builds everything and runs every test. Arguments go to ctest: ./test.sh -R tools
set -euo pipefail
cd "$(dirname "$0")"

scripts/install_dependencies.sh
cmake --preset cpu >/dev/null
cmake --build --preset cpu
ctest --preset cpu "$@"
