#!/usr/bin/env bash
# Checks that every C++ file is formatted by clang-format. With --fix it rewrites the files.
set -euo pipefail
cd "$(dirname "$0")/.."

format=$(command -v clang-format-14 || command -v clang-format)
mode=(--dry-run --Werror)
if [ "${1:-}" = --fix ]; then mode=(-i); fi
find . \( -name build -o -name .deps -o -name .git \) -prune -o \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' \) -print0 |
  xargs -0 "$format" --style=file "${mode[@]}"
echo "format: fine"
