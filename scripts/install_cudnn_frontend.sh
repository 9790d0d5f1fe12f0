#!/usr/bin/env bash
# Puts the headers of cudnn-frontend, which the CUDA backend is compiled with, into .deps/cudnn-frontend/include.
# Does nothing if they are there already. The package is one pinned file of PyPI: only its headers are used, so the Python
# version and the processor in its name do not matter.
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.32.0
file=nvidia_cudnn_frontend-$version-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
sha256=c6006556017a4d1c914c52a556c71b1267f2d6a0500f742e7b4edef539878df0
target=.deps/cudnn-frontend

if [ -f $target/include/cudnn_frontend.h ]; then exit 0; fi
fail() {
  echo "cudnn-frontend: $1" >&2
  echo "An existing copy is used with cmake -DCUDNN_FRONTEND_ROOT=DIR, where DIR/include/cudnn_frontend.h exists." >&2
  exit 1
}
command -v python3 >/dev/null || fail "python3 is needed to fetch it (apt-get install python3)"
python3 -m pip --version >/dev/null 2>&1 || fail "pip is needed to fetch it (apt-get install python3-pip)"

mkdir -p .deps
work=$(mktemp -d .deps/fetch.XXXXXX)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
  --implementation cp --abi cp311 --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --dest "$work" \
  "nvidia-cudnn-frontend==$version" || fail "version $version could not be downloaded from PyPI (is there a network?)"
[ -f "$work/$file" ] || fail "PyPI gave $(ls "$work"), expected $file"
echo "$sha256  $work/$file" | sha256sum --check --status || fail "the downloaded file is not the expected one (sha256)"
python3 -m zipfile -e "$work/$file" "$work/unpacked" || fail "the downloaded file cannot be unpacked"
[ -f "$work/unpacked/include/cudnn_frontend.h" ] || fail "the downloaded file has no headers"

mkdir "$work/ready"
mv "$work/unpacked/include" "$work/ready/include"
rm -rf $target
mv "$work/ready" $target
echo "cudnn-frontend $version: $target/include"
