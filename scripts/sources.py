# SPDX-License-Identifier: Apache-2.0
"""The files of this repository, for the scripts that look at all of them. Run as a program: prints their paths, each with a NUL behind it."""
import fnmatch
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
MADE = {"build", "__pycache__", ".cache", ".git", "results"}   # folders that no archive has


def listed(*patterns):
    """Paths from ROOT whose names match, sorted. What git knows or would add; everything, where there is no git, or this is no checkout but an archive."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if out.returncode == 0:
            return sorted({n for n in out.stdout.split("\0") if n and matches(n, patterns) and (ROOT / n).is_file()})
    names = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in MADE]
        names += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files if not f.endswith(".pyc")]
    return sorted(n for n in names if matches(n, patterns))


def commit():
    """What is tested: HEAD, and whether the work tree differs."""
    done = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "describe", "--always", "--dirty", "--exclude", "*"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "no checkout"


def matches(name, patterns):
    return not patterns or any(fnmatch.fnmatch(os.path.basename(name), p) for p in patterns)


if __name__ == "__main__":
    print(*listed(), sep="\0", end="\0")
