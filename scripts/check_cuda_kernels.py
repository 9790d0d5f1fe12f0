#!/usr/bin/env python3
"""Checks that the tests run every own CUDA kernel on the processor, and prints how many there are.

  scripts/check_cuda_kernels.py build/cpu/tests/test_engine

The program writes the addresses of the kernels that it has launched. `nm` gives their names, and the sources list all kernels.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(")
# Lines of kernels.def that a library does on a GPU. Here the CPU backend does them (engine/cuda/host/library.cpp).
LIBRARY = ["conv2d_forward, conv2d_bias_act, conv2d_dgrad, conv2d_wgrad (dense ones: cuDNN)", "matmul (cuBLASLt)"]


def written():
    names = set()
    for path in sorted((ROOT / "engine/cuda").glob("*.cu")) + sorted((ROOT / "engine/cuda").glob("*.h")) + sorted(
        (ROOT / "engine/cuda/library").glob("*.cu")
    ):
        names.update(KERNEL.findall(path.read_text(encoding="utf-8")))
    return names


def launched(program):
    """The names of the launched kernels, how many instantiations they were, and how many launches."""
    shards = min(os.cpu_count() or 1, 8)
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, f"kernels_{i}") for i in range(shards)]
        tests = [subprocess.Popen([program, "--gtest_filter=-*cpu*", "--gtest_brief=1"], stdout=subprocess.DEVNULL,
                                  env={**os.environ, "COSS_LIST_KERNELS": file, "GTEST_TOTAL_SHARDS": str(shards),
                                       "GTEST_SHARD_INDEX": str(i)}) for i, file in enumerate(files)]
        if any([test.wait() for test in tests]):
            sys.exit(f"{program} --gtest_filter=-*cpu* has failed")
        lists = [[tuple(map(int, line.split())) for line in open(file, encoding="utf-8")] for file in files]
    symbols = {}
    anchor = None
    listing = subprocess.run(["nm", "-C", program], check=True, capture_output=True, text=True).stdout
    for line in listing.splitlines():
        parts = line.split(maxsplit=2)
        if len(parts) == 3 and parts[1] in "tTwW":
            symbols[int(parts[0], 16)] = parts[2]
            if "coss::cuda::host::run_grid(" in parts[2] and "cold" not in parts[2]:
                anchor = int(parts[0], 16)
    names, variants, launches = set(), set(), 0
    for rows in lists:
        shift = rows[0][0] - anchor
        for address, count in rows[1:]:
            plain = symbols[address - shift].replace("(anonymous namespace)::", "")
            names.add(re.search(r"coss::cuda::(\w+)", plain).group(1))
            variants.add(address - shift)
            launches += count
    return names, len(variants), launches


def main():
    expected = written()
    names, variants, launches = launched(sys.argv[1])
    missed = sorted(expected - names)
    print(f"own CUDA kernels: {len(expected & names)} of {len(expected)} have run on the processor "
          f"({variants} instantiations, {launches} launches)")
    print("not run here, a library's work: " + "; ".join(LIBRARY))
    for name in missed:
        print(f"no test runs the kernel {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
