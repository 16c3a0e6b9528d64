#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/rulings.md is true: it has every ruling from S1 to S26, and each test it names exists and cites that ruling.

usage: rulings.py

A row is `| S8 | what it says | tests |`. Tests are named as `Suite.name`, a program as its path. A test cites a ruling in its name (.._S8_..), in its body, or in
the comment right above it; a program anywhere in its file.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAST = 26
ROW = re.compile(r"^\| S(\d+) \| (.+) \| (.+) \|$")
TEST = re.compile(r"^(?:TYPED_)?TEST(?:_F|_P)?\((\w+), (\w+)\)", re.M)


def cites(text, number):
    return re.search(rf"(?<![A-Za-z0-9])S{number}(?![0-9])", text.replace("_", " ")) is not None


def all_tests():
    """Name -> name, text with the comment above."""
    found = {}
    for path in sorted((ROOT / "tests/unit").glob("*_test.cpp")):
        text = path.read_text()
        places = list(TEST.finditer(text))
        for place, following in zip(places, [*places[1:], None]):
            above = re.search(r"((?:^//.*\n)*)\Z", text[: place.start()], re.M)
            found[f"{place[1]}.{place[2]}"] = above[1] + text[place.start() : following.start() if following else len(text)]
    return found


def check(document, tests):
    errors, seen = [], []
    for line in document.read_text().splitlines():
        row = ROW.match(line)
        if not row:
            if line.startswith("| S"):
                errors.append(f"not a row: {line}")
            continue
        number = int(row[1])
        seen.append(number)
        names = re.findall(r"`([^`]+)`", row[3])
        if not names:
            errors.append(f"S{number} names no test")
        for name in names:
            if "/" in name:
                path = ROOT / name
                text = path.read_text() if path.is_file() else None
            else:
                text = tests.get(name)
            if text is None:
                errors.append(f"S{number}: there is no test {name}")
            elif not cites(text, number):
                errors.append(f"S{number}: {name} does not cite it")
    if seen != list(range(1, LAST + 1)):
        errors.append(f"rows, in order, are to be S1 to S{LAST}, but are {seen}")
    return errors


def main():
    if len(sys.argv) > 1:
        print(__doc__.strip())
        return 0 if "--help" in sys.argv else 2
    tests = all_tests()
    errors = check(ROOT / "docs/rulings.md", tests)
    for e in errors:
        print("FAILED:", e)
    if not errors:
        print(f"ok: {LAST} rulings, {len(tests)} tests looked at")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
