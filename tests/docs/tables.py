#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every test, example and document that docs/asyncio.md, tokio.md, hazards.md and ported-tests*.md name exists.

usage: tables.py [--list]       --list: prints what is named

In a table's last column:
    `tests/unit/x_test.cpp`          a file of this repository; so everywhere in these documents, if it begins with a directory of ours
    x_test `a`, `b`; y_test `c`      tests of tests/unit/x_test.cpp, of y_test.cpp (also x_stress in tests/stress, x_model in tests/model: no names)
    x_test                           the whole of it
    (suite X)                        a suite of the file named before
    (empty)                          only in a row that says what is not there, or that nothing is needed
It also checks itself: each name is broken, one after the other, and that must be noticed.
"""
import functools
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = ["asyncio.md", "tokio.md", "hazards.md", *sorted(p.name for p in (ROOT / "docs").glob("ported-tests*.md"))]
COLUMNS = ("shown by", "our test")
NOTHING = ("not there", "not needed", "always on", "no limit", "says what it is", "unlimited")
PATH = re.compile(r"`((?:tests|examples|docs|include|scheduler|scripts|bench|io)/[^`\s]*)`")
SECTION = re.compile(r"\| \*\*.*\*\* (\| )*\|")   # a row that is a heading: "| **mutex** | | |"
TOKEN = re.compile(r"\(suite (\w+)\)|`([^`]*)`|\b(\w+_(?:test|stress|model))\b")


@functools.cache
def names_of(path):
    """(suites, tests) of a test file; None: there is no such file."""
    if not path.is_file():
        return None
    found = re.findall(r"^(?:TYPED_)?(?:TEST|TEST_F|TEST_P|RC_GTEST_PROP|RC_GTEST_FIXTURE_PROP)\(\s*(\w+),\s*(\w+)", path.read_text(), re.M)
    return {suite for suite, _ in found}, {test for _, test in found}


def file_of(name):
    return ROOT / "tests" / {"test": "unit", "stress": "stress", "model": "model"}[name.rsplit("_", 1)[1]] / f"{name}.cpp"


def cells_of(line):
    return [c.strip() for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def rows_of(text):
    """(line number, cells) of the rows of tables whose last column says what shows them."""
    wanted = False
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|"):
            wanted = False
        elif cells_of(line)[-1] in COLUMNS:
            wanted = True
        elif wanted and not set(line) <= set("|- ") and not SECTION.fullmatch(line):
            yield number, cells_of(line)


def references_of(cell):
    """(kind, name, file) for everything that a last cell names."""
    file = None
    for suite, quoted, unit in TOKEN.findall(cell):
        if unit:
            file = unit
            yield "file", unit, None
        elif suite:
            yield "suite", suite, file
        elif not PATH.fullmatch(f"`{quoted}`"):   # paths are looked for everywhere
            yield "test", quoted, file


def problem_with(kind, name, file):
    if kind == "path":
        return None if (ROOT / name).exists() else "there is no such file"
    if kind == "file":
        return None if file_of(name).is_file() else "there is no such file"
    if file is None:
        return "no file is named before it"
    known = names_of(file_of(file))
    if known is None:
        return None   # said before
    return None if name in known[kind == "test"] else f"{file} has no such {kind}"


def problems_of(document, text):
    """(problems, references), each reference as (line number, kind, name)."""
    problems, references = [], []
    for number, line in enumerate(text.splitlines(), 1):
        for name in PATH.findall(line):
            references.append((number, "path", name, None))
    for number, cells in rows_of(text):
        mine = list(references_of(cells[-1]))
        references += [(number, *r) for r in mine]
        if not mine and not PATH.search(cells[-1]) and not any(n in cells[-2] for n in NOTHING):
            problems.append(f"docs/{document}:{number}: shown by nothing, and does not say that it is not there")
    for number, kind, name, file in references:
        if wrong := problem_with(kind, name, file):
            problems.append(f"docs/{document}:{number}: {kind} {name}: {wrong}")
    return problems, references


def blind_spots(document, text, references):
    """Names that may be misspelt without being noticed."""
    lines = text.splitlines()
    for number, kind, name, _ in references:
        broken = lines.copy()
        i = 2 if kind == "file" else len(name) // 2 + (name[len(name) // 2] == "/")
        changed = name[:i] + ("q" if name[i] != "q" else "p") + name[i + 1 :]
        broken[number - 1] = broken[number - 1].replace(name, changed)
        if not problems_of(document, "\n".join(broken))[0]:
            yield f"docs/{document}:{number}: {kind} {name}: a misspelling goes unnoticed"


def main():
    if "--help" in sys.argv:
        print(__doc__.strip())
        return 0
    failed = total = 0
    for document in DOCUMENTS:
        text = (ROOT / "docs" / document).read_text()
        problems, references = problems_of(document, text)
        if "--list" in sys.argv:
            print("\n".join(f"{document}:{number}: {kind} {name}" for number, kind, name, _ in references))
        if not problems:
            problems = list(blind_spots(document, text, references))
        if not references:
            problems.append(f"docs/{document}: names nothing at all")
        print("".join(p + "\n" for p in problems), end="")
        failed += len(problems)
        total += len(references)
    print(f"{total} names in {len(DOCUMENTS)} documents, {failed} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
