#!/usr/bin/env python3
"""Counts the files that one touches to add an operation, a method, a model, a layout of checkpoints or a command.

The count is taken on an existing member of each kind: the files that name it because it is there. A file names a member
if its own name or one of its identifiers has the member's words in a row: `smd` is in `smd`, `SmdMethod` and `smd_loss`,
but not in `smdx`; `embed` is not in `embedding`.

Counted are the sources in the rooms where members of the kind live, the member's own page in docs/, and the page that
has a row for each member of the kind. Tests, with the golden files that are made for them, are counted where the limit
includes them; so are pages.

Not counted are files that only use the member: other rooms (a method that calls an operation), comments and texts with a
space in them (a command's help that mentions another one), recipes, benchmark results, the changelog, CONTRIBUTING.md,
README.md and pages that give the member as an example.

Without an option the script prints the table. --check fails if a limit is passed or if docs/architecture.md has another
table; --write puts the table there."""
import dataclasses
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- written by scripts/count_members.py --write -->\n", "<!-- end -->\n"
CODE = {".h", ".cpp", ".cu", ".cuh", ".def"}
LIBRARY = ("engine", "autograd", "layers", "models", "losses", "data", "formats", "evaluation", "training", "tools")


@dataclasses.dataclass
class Kind:
    name: str
    member: str
    limit: int
    rooms: tuple  # where naming a member is part of adding it
    pages: tuple = ()  # with a row for each member, and the member's own
    without: str = ""  # what the limit leaves out, for the table


KINDS = [
    # The callers of an operation are in rooms above autograd/.
    Kind("an operation", "center_rows", 10, ("engine", "autograd", "tests/engine", "tests/autograd", "tests/reference",
                                             "tests/goldens")),
    Kind("a method with its own kernel", "smd", 12, LIBRARY, without="tests, docs"),
    Kind("a model", "shufflenet_v2", 4, LIBRARY, without="tests"),
    Kind("a layout of checkpoints", "vissl", 2, LIBRARY, pages=("docs/commands/convert.md",), without="tests"),
    # `embed` is also what losses call a head's work.
    Kind("a command", "embed", 4, ("tools",), pages=("docs/commands/README.md", "docs/commands/embed.md"), without="tests"),
]

IDENTIFIER = re.compile(r"\w+", re.ASCII)
# In C++: a comment, a string literal or an identifier.
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\w+', re.DOTALL | re.ASCII)
WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")


def words_of(identifier):
    """["shufflenet", "v2", "options"] of "ShufflenetV2Options"."""
    return [word.lower() for word in WORD.findall(identifier)]


def place_of(member, identifier):
    """At which of the identifier's words the member begins; -1 if it is not in it."""
    wanted, words = words_of(member), words_of(identifier)
    places = [i for i in range(len(words)) if words[i:i + len(wanted)] == wanted]
    return places[0] if places else -1


def named_in_code(token, member):
    if token[0] == "/":
        return False
    if token[0] != '"':
        return place_of(member, token) >= 0
    # In a name in quotes the member comes first: "shufflenet_v2_x0_5", but not "patch_embed.proj".
    return " " not in token and any(place_of(member, part) == 0 for part in IDENTIFIER.findall(token))


def is_named_in(path, member):
    if place_of(member, path.stem) >= 0:
        return True
    text = path.read_text(encoding="utf-8", errors="replace")
    if not re.search("_?".join(words_of(member)), text, re.IGNORECASE):  # saves time: golden files are long
        return False
    if path.suffix in CODE:
        return any(named_in_code(token, member) for token in set(TOKEN.findall(text)))
    if path.suffix == ".py":
        text = re.sub(r"#[^\n]*", "", text)
    return any(place_of(member, identifier) >= 0 for identifier in set(IDENTIFIER.findall(text)))


def files_of(kind):
    paths = [ROOT / page for page in kind.pages]
    for room in kind.rooms:
        paths += [path for path in sorted((ROOT / room).rglob("*"))
                  if path.is_file() and path.suffix not in {".md", ".pyc"}]
    return sorted({str(path.relative_to(ROOT)) for path in paths if is_named_in(path, kind.member)})


def table(counts):
    lines = ["| to add | existing member | files | at most | which |", "|---|---|---|---|---|"]
    for kind, files in counts:
        without = f" without {kind.without}" if kind.without else ""
        which = ", ".join(f"`{file}`" for file in files)
        lines.append(f"| {kind.name} | `{kind.member}` | {len(files)} | {kind.limit}{without} | {which} |")
    return "\n".join(lines) + "\n"


def main():
    arguments = sys.argv[1:]
    if arguments not in ([], ["--check"], ["--write"]):
        sys.exit("members: the options are --check and --write, one at a time")
    counts = [(kind, files_of(kind)) for kind in KINDS]
    text = table(counts)
    if not arguments:
        print(text, end="")
        return 0
    page = PAGE.read_text(encoding="utf-8")
    if page.count(BEGIN) != 1 or END not in page.split(BEGIN)[1]:
        sys.exit(f"members: docs/architecture.md needs the two lines {BEGIN.strip()} and {END.strip()}")
    before, rest = page.split(BEGIN)
    old, after = rest.split(END, 1)
    if arguments == ["--write"]:
        PAGE.write_text(before + BEGIN + text + END + after, encoding="utf-8")
    complaints = [f"{kind.name} ({kind.member}) is named in {len(files)} files, at most {kind.limit} are wanted: "
                  + ", ".join(files) for kind, files in counts if len(files) > kind.limit]
    complaints += [f"no file names {kind.member}: it is {kind.name} no more, choose another in scripts/count_members.py"
                   for kind, files in counts if not files]
    if arguments == ["--check"] and old != text:
        complaints.append("the table in docs/architecture.md is old: run scripts/count_members.py --write")
    for complaint in complaints:
        print(f"members: {complaint}")
    if not complaints:
        print("members: fine")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
