#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the models: every seeded mutant of a shipping header must be noticed by a model.

usage: mutants.py [--cxx COMPILER] [--work DIR] [--only TEXT] [--jobs N] FILE.mutants...

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
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TREE = ["include", "scheduler", "io", "tests/model"]   # what a model may include
FLAGS = ["-std=c++20", "-O1", "-w", "-UNDEBUG"]
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


class Checker:
    def __init__(self, cxx, work):
        self.cxx, self.work = cxx, work
        self.version = subprocess.run([cxx, "--version"], capture_output=True, text=True, check=True).stdout
        (work / "verdicts").mkdir(parents=True, exist_ok=True)

    def check(self, mutant):
        """('noticed' | 'survives' | 'broken', explanation)"""
        texts, why = mutate(mutant)
        if texts is None:
            return "broken", why
        identity = hashlib.sha256(json.dumps([mutant.name, texts, mutant.models, mutant.runs, self.version, FLAGS], sort_keys=True).encode()).hexdigest()[:20]
        record = self.work / "verdicts" / f"{identity}.json"
        kept = self.recall(record)
        if kept:
            return kept
        tree = self.work / f"tree-{identity}"
        shutil.rmtree(tree, ignore_errors=True)
        try:
            for folder in TREE:
                shutil.copytree(ROOT / folder, tree / folder, ignore=lambda _, names: [n for n in names if n.endswith((".mutants", ".py", ".txt"))])
            for name, text in texts.items():
                (tree / name).write_text(text)
            verdict, why, used = "survives", "", set()
            for model in mutant.models:
                program = tree / model
                source = tree / "tests/model" / f"{model}.cpp"
                command = [self.cxx, *FLAGS, f"-I{tree}/include", f"-I{tree}", "-MD", "-MF", str(tree / "deps"), str(source), "-o", str(program)]
                build = subprocess.run(command, capture_output=True, text=True)
                if build.returncode:
                    return "broken", f"does not compile with {model}:\n" + build.stderr[:2000].replace(str(tree), "")
                used |= self.dependencies(tree)
                for run in mutant.runs or runs_of(model):
                    noticed, said = self.run(program, run)
                    if noticed:
                        verdict, why = "noticed", f"{model} {run[0]}: {said}"
                        break
                    why += f"  {model} {' '.join(run)}: {said}\n"
                if verdict == "noticed":
                    break
            record.write_text(json.dumps({"verdict": verdict, "why": why, "mutated": sorted(texts), "used": self.hashes(used - set(texts))}))
            return verdict, why
        finally:
            shutil.rmtree(tree, ignore_errors=True)

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
    def dependencies(tree):
        """Files of the repository, by path from its top, that the last compilation read."""
        words = (tree / "deps").read_text().replace("\\\n", " ").split()
        return {os.path.relpath(os.path.normpath(w), tree) for w in words if w.startswith(str(tree)) and w.endswith((".hpp", ".cpp"))}

    @staticmethod
    def hashes(names):
        return {n: hashlib.sha256((ROOT / n).read_bytes()).hexdigest() for n in sorted(names) if (ROOT / n).exists()}

    def recall(self, record):
        try:
            kept = json.loads(record.read_text())
        except (OSError, ValueError):
            return None
        if kept["verdict"] != "noticed" or self.hashes(kept["used"]) != kept["used"]:
            return None
        return "noticed", kept["why"] + " (kept)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--cxx", default=os.environ.get("CXX", "clang++-19"))
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/model/mutants")
    parser.add_argument("--only", default="", help="only mutants whose name contains this")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    mutants = [m for f in arguments.files for m in parse(f) if arguments.only in m.name]
    if not mutants:
        sys.exit("mutants: none to check")
    checker = Checker(arguments.cxx, arguments.work.resolve())
    bad, start = 0, time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for mutant, (verdict, why) in zip(mutants, pool.map(checker.check, mutants)):
            bad += verdict != "noticed"
            print(f"{verdict.upper() if verdict != 'noticed' else verdict:8s} {mutant.name:70s} {why.strip() if verdict == 'noticed' else ''}", flush=True)
            if verdict != "noticed":
                print(f"         {mutant.source}\n{why}", flush=True)
    print(f"{len(mutants) - bad} of {len(mutants)} mutants noticed, {time.monotonic() - start:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
