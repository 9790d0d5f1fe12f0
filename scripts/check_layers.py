#!/usr/bin/env python3
"""Checks what the compiler does not: which folder includes which, that both backends have files of the same names, and
the length of files. With --test it checks itself on a tree with one fault of each kind."""
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOMS = {  # room (a folder): the rooms whose headers it may include, besides its own
    "engine": set(),
    "autograd": {"engine"},
    "layers": {"engine", "autograd"},
    "models": {"engine", "autograd", "layers"},
    "losses": {"engine", "autograd", "layers", "models"},
    "data": {"engine"},
    "formats": {"engine", "autograd", "layers"},
    "evaluation": {"engine", "autograd", "layers", "models", "losses", "data", "formats"},
    "training": {"engine", "autograd", "layers", "models", "losses", "data", "formats", "evaluation"},
    "tools": {"engine", "autograd", "layers", "models", "losses", "data", "formats", "evaluation", "training"},
    "tests": {"engine", "autograd", "layers", "models", "losses", "data", "formats", "evaluation", "training", "tools"},
}
LONGEST = 600  # lines
WIDEST = 120  # columns
SOURCES = {".h", ".cpp", ".cu", ".cuh", ".def", ".py"}

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def sources(root):
    for room in [*ROOMS, "scripts"]:
        for path in sorted((root / room).rglob("*")):
            if path.suffix in SOURCES:
                yield room, path


def wrong_includes(root, room, path, lines):
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(1)
        other = target.split("/")[0]
        place = f"{path.relative_to(root)}:{number}"
        if not (root / target).is_file():
            yield f'{place}: "{target}" is no file below the root'
        elif other not in ROOMS:
            yield f'{place}: "{target}" is in no room'
        elif other != room and other not in ROOMS.get(room, set()):
            yield f"{place}: {room} must not include {other}"
        elif re.match(r"engine/(cpu|cuda)/", target) and not re.search(r"/engine/(cpu|cuda)/", str(path)) and room != "tests":
            yield f"{place}: a backend is reached only through the kernel table"


def missing_twins(root):
    stems = {}
    for backend in ("cpu", "cuda"):
        files = (root / "engine" / backend).glob("*")
        stems[backend] = {path.stem for path in files if path.suffix in {".cpp", ".cu"}}
    if not stems["cuda"]:
        return
    for one, other in (("cpu", "cuda"), ("cuda", "cpu")):
        for stem in sorted(stems[one] - stems[other]):
            yield f"engine/{one}/{stem} has no twin in engine/{other}"


def complaints_about(root):
    complaints = list(missing_twins(root))
    for room, path in sources(root):
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > LONGEST:
            complaints.append(f"{path.relative_to(root)} has {len(lines)} lines, more than {LONGEST}")
        if path.suffix == ".def":  # clang-format does not see these
            complaints += [f"{path.relative_to(root)}:{number} has {len(line)} columns, more than {WIDEST}"
                           for number, line in enumerate(lines, 1) if len(line) > WIDEST]
        if path.suffix != ".py":
            complaints += wrong_includes(root, room, path, lines)
    return complaints


def test():
    """Every kind of fault is found, and nothing else."""
    files = {
        "engine/kernels.h": "",
        "engine/cpu/norm.cpp": '#include "engine/kernels.h"\n',
        "engine/cpu/pool.cpp": "",
        "engine/cuda/norm.cu": "",
        "training/step.h": '#include "engine/kernels.h"\n',
        "tools/train.cpp": '#include "training/step.h"\n',
        "models/upward.cpp": '#include "training/step.h"\n',
        "evaluation/upward.cpp": '#include "training/step.h"\n',
        "training/upward.cpp": '#include "tools/train.cpp"\n',
        "layers/backend.cpp": '#include "engine/cpu/norm.cpp"\n',
        "layers/gone.cpp": '#include "layers/gone.h"\n',
        "data/long.cpp": "\n" * (LONGEST + 1),
        "engine/wide.def": "/" * (WIDEST + 1) + "\n",
    }
    expected = {"engine/cpu/pool", "models/upward.cpp:1", "evaluation/upward.cpp:1", "training/upward.cpp:1",
                "layers/backend.cpp:1", "layers/gone.cpp:1", "data/long.cpp", "engine/wide.def:1"}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        found = {complaint.split(" ")[0].rstrip(":") for complaint in complaints_about(pathlib.Path(folder))}
    if found != expected:
        sys.exit(f"layers: the check itself is wrong: found {sorted(found)}, expected {sorted(expected)}")
    print("layers: the check finds what it should")


def main():
    if sys.argv[1:] == ["--test"]:
        return test()
    complaints = complaints_about(ROOT)
    for complaint in complaints:
        print(complaint)
    print(f"layers: {len(complaints)} complaints" if complaints else "layers: fine")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
