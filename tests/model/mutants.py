#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the models: every seeded mutant of a shipping header must be noticed by a model.

usage: mutants.py [--cxx COMPILER] [--work DIR] [--engine LIBRARY] [--only TEXT] [--jobs N] [--times] FILE.mutants...

A file X.mutants holds the mutants that X.cpp must notice, one block each:

    # a comment
    mutant: steal: bottom read relaxed          what is broken: unique in its file
    file: include/skua/detail/deque.hpp         which header, from the top of the repository
    models: deque_model other_model             optional; default: X. One of them must notice
    runs: random 500000, bound2                 optional; default: the model's own ("// runs:" in its source)
    - bottom_.load(std::memory_order_acquire)   the old text: must occur exactly once in the header
    + bottom_.load(std::memory_order_relaxed)   the new text

Several "-" lines are one text with line breaks between them, so are several "+" lines; a single blank after the sign does not count. A
`-` line needs not be a whole line of the header. `file`, `-` and `+` may be repeated to change several places together.

A mutant is noticed when the model's program exits with something else than 0 in one of its runs. One that survives all of them, does not
compile, or whose text is not found once, fails the test. Verdicts are kept by the contents of everything they depend on (--work), so a second
run only checks what has changed.

What makes hundreds of them cheap: the sources of a mutant are links to ours but for what it changes; what does not change is compiled once (relacy_engine.cpp,
and relacy_sync.hpp as a precompiled header); and the rest without optimisation, as most are noticed within a few schedules.
"""
import argparse
import concurrent.futures
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests/model"
TREE = ["include", "scheduler", "io"]   # where the headers are that a mutant changes
FLAGS = ["-std=c++20", "-w", "-UNDEBUG"]
TIMEOUT_S = 300


class Mutant:
    def __init__(self, name, source):
        self.name, self.source = name, source   # source: file and line
        self.models, self.runs, self.edits = [], [], []

    def __str__(self):
        return f"{self.source}: {self.name}"


def parse(path):
    mutants, edit = [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where = f"{path.name}:{number}"
        if line.startswith(("- ", "+ ")) or line in ("-", "+"):
            if edit is None:
                sys.exit(f"{where}: text without `file:`")
            if line[0] == "-" and edit["+"]:
                edit = {"file": edit["file"], "-": [], "+": []}
                mutants[-1].edits.append(edit)
            edit[line[0]].append(line[2:])
            continue
        if not line.strip() or line.startswith("#"):
            continue
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "mutant":
            if any(m.name == value for m in mutants):
                sys.exit(f"{where}: a second mutant of this name")
            mutants.append(Mutant(value, where))
            edit = None
        elif not mutants:
            sys.exit(f"{where}: expected `mutant:`")
        elif key == "file":
            edit = {"file": value, "-": [], "+": []}
            mutants[-1].edits.append(edit)
        elif key == "models":
            mutants[-1].models = re.split(r"[\s,]+", value)
        elif key == "runs":
            mutants[-1].runs = split_runs(value)
        else:
            sys.exit(f"{where}: unknown line: {line}")
    for m in mutants:
        m.models = m.models or [path.stem]
        if not m.edits or any(not e["-"] for e in m.edits):
            sys.exit(f"{m}: incomplete")
        for model in m.models:
            if not (path.parent / f"{model}.cpp").exists():
                sys.exit(f"{m}: there is no tests/model/{model}.cpp")
    return mutants


def split_runs(text):
    return [run.split() for run in re.split(r"\s*,\s*", text.strip()) if run]


def runs_of(model):
    for line in (ROOT / "tests/model" / f"{model}.cpp").read_text().splitlines():
        if line.startswith("// runs: "):
            return split_runs(line[len("// runs: "):])
    return [["random", "100000"], ["bound2"]]


def mutate(mutant):
    """The changed headers by path, or a reason why not."""
    texts = {}
    for edit in mutant.edits:
        name, old, new = edit["file"], "\n".join(edit["-"]), "\n".join(edit["+"])
        if name not in texts:
            if not (ROOT / name).is_file():
                return None, f"there is no {name}"
            texts[name] = (ROOT / name).read_text()
        count = texts[name].count(old)
        if count != 1:
            return None, f"its text occurs {count} times in {name}: {old}"
        texts[name] = texts[name].replace(old, new)
    return texts, None


class Compiler:
    """Compiles a model with some headers changed. What does not depend on them is compiled once, and kept in `work`."""

    def __init__(self, cxx, work, engine):
        self.cxx, self.flags = cxx, [*FLAGS, f"-I{MODELS}"]
        self.version = subprocess.run([cxx, "--version"], capture_output=True, text=True, check=True).stdout
        self.engine, self.header, self.header_uses = engine, None, set()
        with open(work / "lock", "w") as lock:   # others may be at it, in the same folder
            fcntl.flock(lock, fcntl.LOCK_EX)
            if engine is None:
                self.engine, _ = self.prepare(work / "engine.o", ["-O2", "-c", str(MODELS / "relacy_engine.cpp")])
            if "clang" in self.version:
                self.header, self.header_uses = self.prepare(work / "relacy_sync.pch", ["-O0", "-x", "c++-header", str(MODELS / "relacy_sync.hpp")])

    def prepare(self, result, arguments):
        """Compiled anew if something that it depends on has changed. (The compiler refuses a precompiled header of files that were touched.)"""
        record, deps = result.with_suffix(".json"), result.with_suffix(".d")
        try:
            kept = json.loads(record.read_text())
            if kept == self.record(kept["used"]) and result.exists():
                return result, set(kept["used"])
        except (OSError, ValueError, KeyError):
            pass
        subprocess.run([self.cxx, *self.flags, f"-I{ROOT}/include", *arguments, "-MD", "-MF", str(deps), "-o", str(result)], check=True)
        used = read_dependencies(deps, ROOT)
        record.write_text(json.dumps(self.record(used)))
        return result, used

    def record(self, names):
        return {"version": self.version, "used": sorted(names), "hashes": hashes(names), "times": [(ROOT / n).stat().st_mtime for n in sorted(names)]}

    def compile(self, model, tree, changed):
        """(files that it depends on, or None; what the compiler said). `tree`: the sources."""
        header = ["-include-pch", str(self.header)] if self.header and not self.header_uses & changed else []
        command = [self.cxx, f"-I{tree}/include", f"-I{tree}", *self.flags, "-O0", *header, "-MD", "-MF", str(tree / "deps"), str(MODELS / f"{model}.cpp")]
        build = subprocess.run([*command, str(self.engine), "-o", str(tree / model)], capture_output=True, text=True)
        if build.returncode:
            return None, f"does not compile with {model}:\n" + build.stderr[:2000].replace(str(tree), "")
        used = read_dependencies(tree / "deps", tree)
        if changed - used:
            return None, f"{model} does not read {', '.join(changed - used)}"
        return used | read_dependencies(tree / "deps", ROOT) | (self.header_uses if header else set()), ""


def make_tree(tree, texts):
    """A copy of the sources in which those in `texts` are different."""
    for top in TREE:
        for folder, _, names in os.walk(ROOT / top):
            here = os.path.relpath(folder, ROOT)
            (tree / here).mkdir(parents=True)
            for name in names:
                if name.endswith(".hpp") and f"{here}/{name}" not in texts:
                    (tree / here / name).symlink_to(f"{folder}/{name}")
    for name, text in texts.items():
        (tree / name).write_text(text)


def read_dependencies(file, top):
    """Files in the folder `top`, by path from there."""
    words = file.read_text().replace("\\\n", " ").split()
    paths = (os.path.normpath(w) for w in words if w.endswith((".hpp", ".cpp")))
    return {os.path.relpath(p, top) for p in paths if p.startswith(f"{top}/")}


def hashes(names):
    return {n: hashlib.sha256((ROOT / n).read_bytes()).hexdigest() for n in sorted(names) if (ROOT / n).exists()}


class Checker:
    def __init__(self, compiler, work):
        self.compiler, self.work = compiler, work
        (work / "verdicts").mkdir(exist_ok=True)

    def check(self, mutant):
        """('noticed' | 'survives' | 'broken', explanation, seconds to compile, seconds to search)"""
        texts, why = mutate(mutant)
        if texts is None:
            return "broken", why, 0, 0
        identity = json.dumps([mutant.name, texts, mutant.models, mutant.runs, self.compiler.version, FLAGS], sort_keys=True)
        record = self.work / "verdicts" / (hashlib.sha256(identity.encode()).hexdigest()[:20] + ".json")
        kept = self.recall(record)
        if kept:
            return "noticed", kept, 0, 0
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            make_tree(pathlib.Path(folder), texts)
            return self.compile_and_run(mutant, set(texts), pathlib.Path(folder), record)

    def compile_and_run(self, mutant, changed, tree, record):
        said, compiling, searching = "", 0, 0
        for model in mutant.models:
            start = time.monotonic()
            used, why = self.compiler.compile(model, tree, changed)
            compiling += time.monotonic() - start
            if used is None:
                return "broken", why, compiling, searching
            for run in mutant.runs or runs_of(model):
                start = time.monotonic()
                noticed, what = self.run(tree / model, run)
                searching += time.monotonic() - start
                if noticed:
                    why = f"{model} {run[0]}: {what}"
                    record.write_text(json.dumps({"why": why, "used": hashes(used - changed)}))
                    return "noticed", why, compiling, searching
                said += f"  {model} {' '.join(run)}: {what}\n"
        return "survives", said, compiling, searching

    @staticmethod
    def run(program, arguments):
        try:
            result = subprocess.run([str(program), *arguments], capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return False, f"did not end within {TIMEOUT_S} s"
        lines = result.stdout.strip().splitlines()
        said = next((line for line in lines if line.startswith("error")), lines[0] if lines else "no output")
        if result.returncode < 0:
            said = f"signal {-result.returncode}"
        return result.returncode != 0, said

    @staticmethod
    def recall(record):
        try:
            kept = json.loads(record.read_text())
        except (OSError, ValueError):
            return None
        return kept["why"] + " (kept)" if hashes(kept["used"]) == kept["used"] else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--cxx", default=os.environ.get("CXX", "clang++-19"))
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/model/mutants")
    parser.add_argument("--engine", type=pathlib.Path, help="relacy_engine.cpp, compiled; default: compiled here")
    parser.add_argument("--only", default="", help="only mutants whose name contains this")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--times", action="store_true", help="print how long each took to compile and to search")
    arguments = parser.parse_args()
    mutants = [m for f in arguments.files for m in parse(f) if arguments.only in m.name]
    if not mutants:
        sys.exit("mutants: none to check")
    start, bad, work = time.monotonic(), 0, arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    checker = Checker(Compiler(arguments.cxx, work, arguments.engine and arguments.engine.resolve()), work)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for mutant, (verdict, why, compiling, searching) in zip(mutants, pool.map(checker.check, mutants)):
            bad += verdict != "noticed"
            if arguments.times:
                print(f"{compiling:6.2f} {searching:7.2f} ", end="")
            print(f"{verdict.upper() if verdict != 'noticed' else verdict:8s} {mutant.name:70s} {why.strip() if verdict == 'noticed' else ''}", flush=True)
            if verdict != "noticed":
                print(f"         {mutant.source}\n{why}", flush=True)
    print(f"{len(mutants) - bad} of {len(mutants)} mutants noticed, {time.monotonic() - start:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
