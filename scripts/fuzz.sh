#!/usr/bin/env bash
# Runs libFuzzer on every reader of files that others made, with the address and undefined-behavior sanitizers:
#   scripts/fuzz.sh [SECONDS PER READER] [READER…]     (defaults: 600, all; JOBS at a time, one per core)
# Needs clang with its runtime (Debian: clang, libclang-rt-dev, libomp-dev). Findings are kept in build/fuzz/found.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
readers=("${@:2}")
if [ ${#readers[@]} -eq 0 ]; then readers=(pickle zip tar legacy safetensors npy image cifar recipe); fi

clang=$(command -v clang++ || command -v clang++-14) || { echo "install clang" >&2; exit 1; }
cmake -G Ninja -B build/fuzz -DCMAKE_CXX_COMPILER="$clang" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" -DCOSS_CUDA=OFF -DCOSS_FUZZ=ON -DCOSS_SANITIZE=address,undefined >/dev/null
ninja -C build/fuzz "${readers[@]/#/fuzz_}"
mkdir -p build/fuzz/found

fuzz() {  # reader
  local corpus=build/fuzz/corpus/$1
  mkdir -p "$corpus"
  tr ';' '\n' <"build/fuzz/fuzz/$1.seeds" | xargs cp -t "$corpus"
  case $1 in
    zip | tar | legacy | safetensors | npy)
      find "${COSS_SHARED:-../shared}/checkpoints/fixtures" -type f -size -64k -exec cp -t "$corpus" {} + 2>/dev/null || true ;;
  esac
  local log=build/fuzz/$1.log
  if "build/fuzz/tests/fuzz/fuzz_$1" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=65536 \
    -artifact_prefix="build/fuzz/found/$1-" "$corpus" >"$log" 2>&1; then
    echo "$1: no finding, $(grep -o 'Done [0-9]* runs in [0-9]* second' "$log")s"
  else
    echo "$1: a finding, see $log" >&2
    return 1
  fi
}
export -f fuzz
export seconds OMP_WAIT_POLICY=passive
printf '%s\n' "${readers[@]}" | xargs -P "${JOBS:-$(nproc)}" -I{} bash -c 'fuzz {}'
