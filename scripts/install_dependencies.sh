#!/usr/bin/env bash
# Installs the missing Debian packages that the build needs. With --checks also those of .ci/run; with --cuda also the
# headers of cudnn-frontend, into .deps/ (install CUDA and cuDNN from NVIDIA).
set -euo pipefail

packages=(g++ cmake ninja-build libdnnl-dev libjpeg-dev libwebp-dev libtiff-dev libgif-dev libstb-dev
  nlohmann-json3-dev libcli11-dev libfmt-dev libzip-dev libgtest-dev)
if [ "${1:-}" = --checks ]; then packages+=(clang-format-14 python3 libbenchmark-dev); fi
if [ "${1:-}" = --cuda ]; then packages+=(python3 python3-pip); fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  if [ "$state" != installed ]; then missing+=("$package"); fi
done
if [ ${#missing[@]} -eq 0 ]; then
  if [ "${1:-}" = --cuda ]; then exec "$(dirname "$0")/install_cudnn_frontend.sh"; fi
  exit 0
fi

echo "installing: ${missing[*]}"
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "as root, run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  sudo=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -q
"${sudo[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}"
if [ "${1:-}" = --cuda ]; then exec "$(dirname "$0")/install_cudnn_frontend.sh"; fi
