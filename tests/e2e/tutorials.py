#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tutorial programs print what the documents say they print, in the time that concurrency promises: no less than their longest wait, and less than all of
them one after the other."""
import os, time
import lib
from lib import check, equal, example, run

PROGRAMS = ["tutorial_tasks", "tutorial_gather", "tutorial_timeout", "fetch", "echo_server", "http_server"]


def timed(*command, env=None):
    start = time.monotonic()
    out = run([example(command[0]), *command[1:]], env={**os.environ, **(env or {})})
    return out.splitlines(), time.monotonic() - start


def took(seconds, longest, altogether, what):
    check(longest - 0.001 <= seconds < altogether, f"{what} took {seconds:.2f} s: the longest wait is {longest}, all of them {altogether}")


def test_two_tasks_run_at_the_same_time():
    lines, seconds = timed("tutorial_tasks")
    starts = {"The task started to calculate the square of 5", "The task started to calculate the cube of 3"}
    equal(set(lines[:2]), starts, "the first two lines, in either order")
    equal(lines[2:], ["The task to calculate the square of 5 ended.", "The task to calculate the cube of 3 ended.", "The square result is: 25",
                      "The cube result is: 27"], "the other lines")
    took(seconds, 2, 3, "two tasks of 1 and 2 s")


def test_gather_gives_results_in_order():
    lines, _ = timed("tutorial_gather", "--scale", "0.01")
    equal(lines, ["Data from users", "Data from orders", "Data from prices"], "the results, in the order of the arguments")


def test_gather_takes_as_long_as_its_longest():
    _, seconds = timed("tutorial_gather", "--scale=0.2")
    took(seconds, 1.4, 2.8, "three fetches of 2, 5 and 7 s, scaled by 0.2")


def test_a_fetch_that_is_too_slow_times_out():
    # In virtual time: if a process stands still on the real clock until both times are past, the data is there, and wins.
    lines, seconds = timed("tutorial_timeout", env={"SKUA_BACKEND": "virtual"})
    equal(lines, ["Fetching data timed out"], "the lines")
    check(seconds < 10, f"10 s of virtual time took {seconds:.2f} s")


def test_fetch_fetches_pages_and_files_and_gives_up_on_slow_ones():
    lines, _ = timed("fetch", "--scale", "0.1")
    equal(lines, ["page news: <h1>news</h1>", "page mail: <h1>mail</h1>", "page maps: <h1>maps</h1>",
                  "file one: first file", "file two: second file", "file three: third file",
                  "query: timed out", "slow page: timed out"], "the lines")


def test_help_everywhere():
    for p in PROGRAMS:
        out = run([example(p), "--help"])
        check(out.startswith(f"usage: {p}"), f"{p} --help printed {out[:100]!r}")


def test_bad_arguments_get_a_clear_error_and_exit_code_2():
    import subprocess
    cases = [(p, ["--no-such-option"], "--no-such-option") for p in PROGRAMS] + [(p, ["stray"], "stray") for p in PROGRAMS]
    cases += [("tutorial_gather", ["--scale", "fast"], "fast"), ("tutorial_gather", ["--scale"], "--scale"), ("tutorial_timeout", ["--scale", "-1"], "-1"),
              ("http_server", ["--port", "65536"], "65536"), ("http_server", ["--workers", "0.5"], "0.5"), ("echo_server", ["--port=x"], "x"),
              ("http_server", ["--backend", "nonsense"], "nonsense"), ("echo_server", ["--workers", "1025"], "1025")]
    for program, arguments, named in cases:
        done = subprocess.run([example(program), *arguments], capture_output=True, text=True, timeout=30)
        what = f"{program} {' '.join(arguments)}"
        equal(done.returncode, 2, f"exit code of {what} (stderr: {done.stderr!r})")
        check(named in done.stderr and program in done.stderr, f"{what}: the error does not name it: {done.stderr!r}")


def test_a_bad_environment_variable_is_named():
    import subprocess
    for program in ["tutorial_tasks", "http_server"]:
        done = subprocess.run([example(program)], capture_output=True, text=True, timeout=30, env={**os.environ, "SKUA_WORKERS": "many"})
        equal(done.returncode, 2, f"exit code of {program} with SKUA_WORKERS=many")
        check("SKUA_WORKERS" in done.stderr and "many" in done.stderr, f"{program}: stderr {done.stderr!r}")


lib.main()
