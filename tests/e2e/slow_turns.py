#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A machine so busy that each turn of the processor takes long, as for a process of low priority beside others of normal priority: here each sched_yield()
takes 25 ms. No thread may wait for something in turns that are counted."""
import collections, os, tempfile
import lib
from lib import Skip, check, example, need, run


def test_no_thread_counts_turns():
    need("strace")
    if lib.SANITIZED:
        raise Skip("a sanitizer's run-time does not care to be traced")
    with tempfile.TemporaryDirectory() as folder:
        trace = os.path.join(folder, "trace")
        run(["strace", "-f", "-o", trace, "-e", "trace=sched_yield", "-e", "inject=sched_yield:delay_enter=25000", example("tutorial_gather"), "--scale", "0.001"], limit=60)
        with open(trace) as f:
            turns = collections.Counter(line.split()[0] for line in f if "sched_yield" in line and "resumed" not in line)
    most = max(turns.values(), default=0)
    check(most < 50, f"one of the threads waited for {most} turns")


lib.main()
