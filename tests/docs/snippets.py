#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles every C++ block of README.md and docs/**/*.md, so that the documents cannot lie.

usage: snippets.py BUILD_DIR COMPILER [COMPILER FLAGS...]

What is done with a block is said behind the three back-ticks:
    cpp                     with `int main`: a program, compiled as it stands and linked (not run). Without: declarations, compiled behind
                            the includes and using-directives of a fragment
    cpp fragment            statements, put into the body of a coroutine
    cpp from=PATH           must stand in that file, word for word (lines may be indented differently)
    cpp ignore              nothing is done: deliberately wrong, or not there yet
An HTML comment `<!-- cpp ... -->` holds declarations that the fragments behind it, to the end of the document, are compiled with.
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^( *)```(\S*) *(.*)$")
PREAMBLE = """#include <skua/skua.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <variant>
#include <vector>
using namespace std::chrono_literals;
"""
QUIET = ["-Wall", "-Wextra", "-Werror", "-Wno-unused", "-Wno-unused-parameter"]
# What is dropped on purpose says so with (void); a nodiscard that a document overlooks is an error.
QUIET += ["-Werror=unused-result"]


class Block:
    def __init__(self, path, line, kind, text, setup):
        self.path, self.line, self.kind, self.text, self.setup = path, line, kind, text, setup

    def __str__(self):
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks(path):
    found, setup, lines = [], "", path.read_text().splitlines()
    i = 0
    while i < len(lines):
        fence = FENCE.match(lines[i])
        if fence:
            start, body = i + 1, []
            i += 1
            while i < len(lines) and not lines[i].strip().startswith("```"):
                body.append(lines[i])
                i += 1
            if fence[2] in ("cpp", "c++", "C++"):
                found.append(Block(path, start + 1, fence[3].strip(), textwrap.dedent("\n".join(body)) + "\n", setup))
        elif lines[i].strip() == "<!-- cpp":
            body = [f'#line {i + 2} "{path}"']
            i += 1
            while i < len(lines) and lines[i].strip() != "-->":
                body.append(lines[i])
                i += 1
            setup += "\n".join(body) + "\n"
        i += 1
    return found


def unit(block):
    """Translation unit, and whether it is a program."""
    line = f'#line {block.line} "{block.path}"\n'
    if block.kind == "fragment":
        return PREAMBLE + "namespace {\n" + block.setup + "[[maybe_unused]] skua::task<void> fragment() {\n" + line + block.text + "co_return;\n}\n}\n", False
    if re.search(r"\bint main\s*\(", block.text):
        return line + block.text, True
    return PREAMBLE + block.setup + line + block.text, False


def check(block, number, build, compiler, flags):
    if block.kind == "ignore":
        return None
    if block.kind.startswith("from="):
        path = ROOT / block.kind[len("from="):]
        if not path.is_file():
            return f"there is no {path}"
        want, have = ([line.strip() for line in t.splitlines() if line.strip()] for t in (block.text, path.read_text()))
        places = range(len(have) - len(want) + 1)
        return None if any(have[i : i + len(want)] == want for i in places) else f"does not stand in {path.relative_to(ROOT)}"
    if block.kind not in ("", "fragment"):
        return f"unknown kind of block: cpp {block.kind}"
    text, program = unit(block)
    source = build / "tests/snippets" / f"{block.path.stem}_{number}.cpp"
    source.write_text(text)
    command = [compiler, "-std=c++20", *QUIET, *flags, f"-I{ROOT}/include", str(source)]
    command += ["-o", str(source.with_suffix("")), str(build / "libskua.a"), "-pthread"] if program else ["-fsyntax-only"]
    if program and "skua/arena.hpp" in text:
        command.append("-ltbb")
    if program and "skua/tls.hpp" in text:
        archive = build / "io/tls/libskua_tls.a"
        if not archive.exists():   # OpenSSL is not there
            return None
        command.insert(command.index(str(build / "libskua.a")), str(archive))
        command += ["-lssl", "-lcrypto"]
    result = subprocess.run(command, capture_output=True, text=True)
    return None if result.returncode == 0 else result.stderr[:4000]


def main():
    if len(sys.argv) < 3 or "--help" in sys.argv:
        print(__doc__.strip())
        return 0 if "--help" in sys.argv else 2
    build, compiler, flags = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3:]
    (build / "tests/snippets").mkdir(parents=True, exist_ok=True)
    macros = subprocess.run([compiler, "-dM", "-E", "-x", "c++", "/dev/null"], capture_output=True, text=True).stdout
    if "__clang__" not in macros:
        flags = [*flags, "-Wno-subobject-linkage"]   # a block says that it stands in its document, so GCC takes its lambdas for those of a header
    documents = [p for p in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if p.exists()]
    todo = [b for d in documents for b in blocks(d)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        work = pool.map(lambda pair: check(pair[1], pair[0], build, compiler, flags), enumerate(todo))
        for block, error in zip(todo, work):
            failed += error is not None
            if error is not None:
                print(f"FAILED {block}\n{error}\n")
    ignored = sum(b.kind == "ignore" for b in todo)
    print(f"{len(todo)} blocks in {len(documents)} documents: {len(todo) - failed - ignored} good, {ignored} ignored, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
