#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rate limiter keeps its rate, is fair, and loses no token to who gives up. In virtual time the figures are exact; on the real clock its promises are."""
import re
import lib
from lib import check, equal, example, run

SUMMARY = re.compile(r"(\d+) granted: (\d+) to each of (\d+) clients, (\d+) to the impatient, of whom (\d+) gave up")
PACE = re.compile(r"in ([\d.]+) ms, at (\S+)/s after a burst of (\S+); one client was ahead of another by (\d+) at most")
PROMISES = ["every token was somebody's", "the rate was kept"]


def limiter(**options):
    """(granted, to the impatient, gave up, milliseconds, lead)"""
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    lines = run([example("rate_limiter"), *arguments], limit=60).splitlines()
    summary, pace = SUMMARY.fullmatch(lines[0]), PACE.fullmatch(lines[1])
    check(summary and pace, f"what it says: {lines}")
    equal(lines[2:], PROMISES, "what it promises")
    granted, each, clients, served, gave_up = map(int, summary.groups())
    equal((each, clients), (options["requests"], options["clients"]), "what the patient got")
    equal(granted, each * clients + served, "the sum")
    return granted, served, gave_up, float(pace[1]), int(pace[4])


def test_the_rate_is_exact_in_virtual_time():
    granted, _, _, ms, _ = limiter(backend="virtual", clients=8, requests=10, rate=200, burst=10, impatient=0)
    equal(granted, 80, "tokens")
    equal(ms, (80 - 10) / 200 * 1000, "the time it took")


def test_nobody_is_overtaken():
    for clients, burst in ((2, 1), (50, 1), (50, 20)):
        lead = limiter(backend="virtual", clients=clients, requests=40, rate=1000, burst=burst, impatient=0)[4]
        check(lead <= burst + 1, f"{clients} clients, burst {burst}: one got ahead of another by {lead}")


def test_who_gives_up_has_taken_nothing():
    granted, served, gave_up, ms, _ = limiter(backend="virtual", clients=20, requests=10, rate=100, burst=1, impatient=300, patience=1000)
    equal(served + gave_up, 300, "the impatient, all together")
    check(served > 0 and gave_up > 0, f"{served} were served and {gave_up} gave up: both should have happened")
    check(abs(ms - (granted - 1) * 10) < 0.2, f"{granted} tokens at 100/s in {ms} ms: not a token more or less has left the bucket")


def test_it_keeps_its_promises_on_the_real_clock():
    limiter(clients=10, requests=50, rate=5000, burst=5, impatient=50, patience=5)


lib.main()
