#!/usr/bin/env python3
"""Checks the section "One training step" of docs/architecture.md: each numbered line names a file and a function that is
defined in it, and there are at most ten lines."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
STEP = re.compile(r"^\d+\. `([^`]+)`, `([^`]+)`:", re.MULTILINE)
LONGEST = 10


def main():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = text.split("## One training step")[1].split("\n## ")[0]
    steps = STEP.findall(section)
    numbered = re.findall(r"^\d+\. ", section, re.MULTILINE)
    if not steps or len(steps) != len(numbered) or len(steps) > LONGEST:
        sys.exit(f"walk: {len(steps)} of {len(numbered)} lines name a file and a function; at most {LONGEST} are wanted")
    for file, function in steps:
        path = ROOT / file
        if not path.is_file():
            sys.exit(f"walk: {file} does not exist")
        # A definition: the name, its parameters and an opening brace, with no semicolon before it.
        if not re.search(rf"\b{re.escape(function)}\([^;{{]*\)[^;{{]*\{{", path.read_text(encoding="utf-8")):
            sys.exit(f"walk: {file} does not define {function}")
    print(f"walk: {len(steps)} steps, all there")


if __name__ == "__main__":
    main()
