#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks tests/model/poller.pml with spin: every size without an error, every mutant with one.

usage: poller_check.py [--quick] [--work DIR]

Needs spin and a C compiler; without spin it says so and exits with 77. All sizes are exhaustive. --quick leaves out those beyond 3 million states.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

MODEL = pathlib.Path(__file__).resolve().parent / "poller.pml"

# Two workers; events, tasks posted from outside, tasks that never return, naps.
SIZES = [
    "EVENTS=2",
    "EVENTS=2 HOGS=1",
    "EVENTS=2 HOGS=2",
    "EVENTS=2 NAPS=1 HOGS=1",
    "EVENTS=1 POSTS=1 HOGS=1",
    "EVENTS=1 POSTS=1 NAPS=1",
    "EVENTS=2 POSTS=1",
]
QUICK = 4
# And the size in which each is noticed.
MUTANTS = {
    "FREE_ON_KICK": "EVENTS=2",
    "CANCEL_SILENT": "EVENTS=2 HOGS=1",
    "CANCEL_UNCOUNTED": "EVENTS=2 HOGS=1",
    "RELEASE_SILENT": "EVENTS=2 HOGS=1",
    "LATE_CONSUME": "EVENTS=2 POSTS=1",
    "IO_CONSUMES": "EVENTS=2",
    "ONE_LOOK": "EVENTS=2 HOGS=1",
    "NO_SECOND_LOOK": "EVENTS=2",
    "RISE_BLIND": "EVENTS=2",
}


def check(work, definitions):
    """(errors, states) of an exhaustive search, up to the first error."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=work))
    flags = [f"-D{d}" for d in definitions]
    subprocess.run(["spin", "-a", *flags, MODEL], cwd=folder, check=True, capture_output=True)
    subprocess.run(["cc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=3000", "-o", "pan", "pan.c"], cwd=folder, check=True)
    # -E: where a process may stop is said by the assertions of init.
    out = subprocess.run(["./pan", "-E", "-n", "-m1000000"], cwd=folder, capture_output=True, text=True).stdout
    shutil.rmtree(folder)
    errors, states = re.search(r"errors: (\d+)", out), re.search(r"(\d+) states, stored", out)
    if errors is None or states is None or "out of memory" in out or "max search depth too small" in out:
        sys.exit(f"the search for {' '.join(definitions)} did not end:\n{out}")
    return int(errors[1]), int(states[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    if shutil.which("spin") is None:
        print("skipped: spin is not installed")
        return 77
    arguments.work.mkdir(parents=True, exist_ok=True)
    bad = 0
    for size in SIZES[: QUICK if arguments.quick else None]:
        errors, states = check(arguments.work, size.split())
        bad += errors != 0
        print(f"{'ok' if errors == 0 else 'ERROR'}        {size}: {states} states", flush=True)
    for mutant, size in MUTANTS.items():
        errors, _ = check(arguments.work, size.split() + [mutant])
        bad += errors == 0
        print(f"{'noticed' if errors else 'SURVIVES'}  {mutant} ({size})", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
