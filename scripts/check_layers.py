#!/usr/bin/env python3
"""Checks what the compiler does not: who may include whom, twin files of the backends, and the length of files."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOMS = {  # room: the rooms whose headers it may include, besides its own
    "engine": set(),
    "autograd": {"engine"},
    "layers": {"engine", "autograd"},
    "models": {"engine", "autograd", "layers"},
    "losses": {"engine", "autograd", "layers", "models"},
    "data": {"engine"},
    "formats": {"engine", "autograd", "layers"},
    "tools": {"engine", "autograd", "layers", "models", "losses", "data", "formats"},
    "tests": {"engine", "autograd", "layers", "models", "losses", "data", "formats", "tools"},
}
# Stems that one backend alone needs: its libraries, and kernels that the other's library has. Every other stem of
# engine/cpu has a twin in engine/cuda and the reverse.
WITHOUT_TWIN = {"onednn", "state", "blas", "matmul_epilogue", "cudnn", "cudnn_graph", "dense_conv", "bias_act", "stem_fold",
                "depthwise", "attention_cudnn", "widen"}
LONGEST = 600  # lines
SOURCES = {".h", ".cpp", ".cu", ".cuh", ".def", ".py"}

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def sources():
    for room in [*ROOMS, "scripts"]:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in SOURCES:
                yield room, path


def wrong_includes(room, path, lines):
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(1)
        other = target.split("/")[0]
        place = f"{path.relative_to(ROOT)}:{number}"
        if not (ROOT / target).is_file():
            yield f'{place}: "{target}" is no file below the root'
        elif other not in ROOMS:
            yield f'{place}: "{target}" is in no room'
        elif other != room and other not in ROOMS.get(room, set()):
            yield f"{place}: {room} must not include {other}"
        elif re.match(r"engine/(cpu|cuda)/", target) and not re.search(r"/engine/(cpu|cuda)/", str(path)) and room != "tests":
            yield f"{place}: a backend is reached only through the kernel table"


def missing_twins():
    stems = {}
    for backend in ("cpu", "cuda"):
        files = (ROOT / "engine" / backend).glob("*")
        stems[backend] = {path.stem for path in files if path.suffix in {".cpp", ".cu"}} - WITHOUT_TWIN
    if not stems["cuda"]:
        return
    for one, other in (("cpu", "cuda"), ("cuda", "cpu")):
        for stem in sorted(stems[one] - stems[other]):
            yield f"engine/{one}/{stem} has no twin in engine/{other}"


def main():
    complaints = list(missing_twins())
    for room, path in sources():
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > LONGEST:
            complaints.append(f"{path.relative_to(ROOT)} has {len(lines)} lines, more than {LONGEST}")
        if path.suffix != ".py":
            complaints += wrong_includes(room, path, lines)
    for complaint in complaints:
        print(complaint)
    print(f"layers: {len(complaints)} complaints" if complaints else "layers: fine")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
