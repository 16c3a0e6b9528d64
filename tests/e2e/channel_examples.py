#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The examples of channels: the pipeline ends by itself with all results, the hub passes messages on to who has subscribed."""
import socket
import lib
from lib import check, equal, example, run, Server


class Client:
    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        self.lines = self.socket.makefile("r")

    def say(self, line):
        self.socket.sendall((line + "\n").encode())

    def hear(self, wanted, what):
        equal(self.lines.readline(), wanted + "\n", what)

    def close(self):
        self.lines.close()
        self.socket.close()


def test_the_pipeline_ends_with_all_results():
    out = run([example("worker_pipeline"), "--jobs", "500", "--workers", "7", "--scale", "0.05"])
    equal(out.splitlines(), [f"500 results, sum {sum(n * n for n in range(500))}", "never more than a handful under way"], "its output")


def test_the_hub_passes_messages_on_to_subscribers():
    with Server("pubsub_hub") as server:
        a, b, c = Client(server), Client(server), Client(server)
        a.say("sub news")
        a.hear("ok", "the answer to sub")
        b.say("sub news")
        b.hear("ok", "the answer to sub")
        b.say("sub sport")
        b.hear("ok", "the answer to sub")
        for i in range(20):
            c.say(f"pub news number {i}")
            for who in (a, b):
                who.hear(f"news number {i}", "a message of the topic")
        c.say("pub sport 1:0")
        c.say("pub news last")
        b_heard = {b.lines.readline(), b.lines.readline()}
        equal(b_heard, {"sport 1:0\n", "news last\n"}, "what b has heard of two topics")
        a.hear("news last", "what a has heard")
        a.close()   # nobody else is disturbed
        c.say("pub news without a")
        b.hear("news without a", "a message after another client has left")
        c.say("nonsense")
        c.hear("sub TOPIC, or pub TOPIC TEXT", "the answer to nonsense")
        b.close()
        c.close()


def test_a_subscriber_that_does_not_read_slows_nobody_down():
    with Server("pubsub_hub") as server:
        lazy, eager, source = Client(server), Client(server), Client(server)
        lazy.say("sub flood")
        lazy.hear("ok", "the answer to sub")
        text = "x" * 4000
        for i in range(3000):   # more than the kernel buffers for the lazy one
            source.say(f"pub flood {text}")
        eager.say("sub flood")
        eager.hear("ok", "the answer to sub")
        source.say("pub flood end")
        heard = ""
        while heard != "flood end\n":
            heard = eager.lines.readline()
            check(heard != "", "the hub has closed the connection")
        check(any("missed" in lazy.lines.readline() for _ in range(3000)), "the lazy one is told that it has missed something")
        for one in (lazy, eager, source):
            one.close()


lib.main()
