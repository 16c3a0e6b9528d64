#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The connection pool against an upstream that this test plays: how many connections it sees, in what order requests come, and what happens when it closes, is
silent, or goes away."""
import contextlib, queue, signal, socket, threading
import lib
from lib import check, equal, Server, SLOW, wait_until


class Upstream:
    """Answers "x" with "re:x", each connection in a thread; a request that `holds` is answered by release()."""

    def __init__(self, port=0):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.open, self.most, self.made, self.seen = set(), 0, 0, []
        self.held = queue.Queue()   # (connection, request)
        self.holds = lambda request: False
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with self.lock:
                    self.made += 1
                    self.open.add(connection)
                    self.most = max(self.most, len(self.open))
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError), connection.makefile("r") as lines:
            for line in lines:
                request = line.rstrip("\n")
                with self.lock:
                    self.seen.append(request)
                if self.holds(request):
                    self.held.put((connection, request))
                else:
                    self.answer(connection, request)
        with self.lock:
            self.open.discard(connection)
        connection.close()

    @staticmethod
    def answer(connection, request):
        connection.sendall(f"re:{request}\n".encode())

    def release(self):
        connection, request = self.held.get(timeout=10 * SLOW)
        self.answer(connection, request)
        return request

    def wait_for_held(self, n):
        wait_until(lambda: self.held.qsize() == n, f"{n} requests are held")

    def close_connections(self):
        with self.lock:
            everyone = list(self.open)
        for connection in everyone:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: not self.open, "the upstream's connections are closed")

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)   # accept() returns
        self.listener.close()
        self.thread.join()
        self.close_connections()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Client:
    def __init__(self, server):
        self.socket = server.connect(limit=20)
        self.lines = self.socket.makefile("r")

    def say(self, line):
        self.socket.sendall((line + "\n").encode())

    def hear(self):
        return self.lines.readline().rstrip("\n")

    def ask(self, line):
        self.say(line)
        return self.hear()

    def close(self):
        self.lines.close()
        self.socket.close()


def gateway(upstream, **options):
    return Server("connection_pool", "--upstream", str(upstream.port), *[text for name, value in options.items() for text in (f"--{name}", str(value))])


def stats(client):
    words = client.ask("stats").split()
    return {name: int(value) for name, value in zip(words[::2], words[1::2])}


def test_it_works_alone():
    with Server("connection_pool") as server:
        client = Client(server)
        equal(client.ask("hello"), "HELLO", "the answer of its own upstream")
        client.close()


def test_it_is_bounded_and_uses_its_connections_again():
    with Upstream() as upstream, gateway(upstream, connections=3, patience=60_000, reply=60_000) as server:
        one = Client(server)
        for i in range(50):
            equal(one.ask(f"a{i}"), f"re:a{i}", "an answer")
        equal(upstream.made, 1, "connections that one client after the other needs")

        clients = [Client(server) for _ in range(20)]
        upstream.holds = lambda request: request.startswith("b")
        for i, client in enumerate(clients):
            client.say(f"b{i}")
        upstream.wait_for_held(3)
        wait_until(lambda: stats(one)["waiting"] == 17, "the rest waits for a connection")
        upstream.holds = lambda request: False
        for _ in range(3):
            upstream.release()
        for i, client in enumerate(clients):
            equal(client.hear(), f"re:b{i}", "an answer")
            client.close()
        equal(upstream.most, 3, "the most connections that the upstream has seen")
        now = stats(one)
        equal((now["open"], now["idle"], now["waiting"]), (3, 3, 0), "the pool at rest")
        one.close()


def test_who_waits_is_served_in_order():
    with Upstream() as upstream, gateway(upstream, connections=1, patience=60_000, reply=60_000) as server:
        upstream.holds = lambda request: True
        watcher, clients = Client(server), [Client(server) for _ in range(8)]
        for i, client in enumerate(clients):
            client.say(str(i))
            if i == 0:
                upstream.wait_for_held(1)
            else:
                wait_until(lambda: stats(watcher)["waiting"] == i, "it waits for its connection")
        equal([upstream.release() for _ in clients], [str(i) for i in range(8)], "the order in which they were served")
        for one in (watcher, *clients):
            one.close()


def test_a_connection_that_the_upstream_has_closed_is_not_used():
    with Upstream() as upstream, gateway(upstream, connections=2) as server:
        client = Client(server)
        for i in range(10):
            equal(client.ask(f"x{i}"), f"re:x{i}", "the answer after the upstream has closed the connection")
            upstream.close_connections()
        equal(upstream.seen, [f"x{i}" for i in range(10)], "what the upstream was asked, each once")
        now = stats(client)
        equal((now["made"], now["reused"], now["discarded"]), (10, 0, 9), "connections that were made, used again, found dead")
        client.close()


def test_a_dead_upstream_is_an_error_and_its_return_is_noticed():
    with Upstream() as upstream, gateway(upstream, connections=2) as server:
        client = Client(server)
        equal(client.ask("a"), "re:a", "the answer while it lives")
        upstream.close()
        for _ in range(5):   # more often than there are places: a failure costs none
            equal(client.ask("b"), "error: Connection refused", "the answer while it is away")
        with Upstream(upstream.port):
            equal(client.ask("c"), "re:c", "the answer when it is back")
        client.close()


def test_a_silent_upstream_costs_time_but_no_connection():
    with Upstream() as upstream, gateway(upstream, connections=1, reply=300) as server:
        client = Client(server)
        upstream.holds = lambda request: request == "quiet"
        equal(client.ask("quiet"), "error: timed out", "the answer of a silent upstream")
        wait_until(lambda: not upstream.open, "the connection is closed: its late answer must not be the next one's")
        made = 2
        while (answer := client.ask(f"next{made}")) == "error: timed out":   # this machine was the slow one
            made += 1
        equal(answer, f"re:next{made}", "the answer to the next request")
        equal(stats(client)["made"], made, "connections")
        client.close()


def test_who_waits_too_long_is_told_and_takes_no_place():
    with Upstream() as upstream, gateway(upstream, connections=1, patience=300, reply=60_000) as server:
        first, second = Client(server), Client(server)
        upstream.holds = lambda request: request == "long"
        first.say("long")
        upstream.wait_for_held(1)
        equal(second.ask("me too"), "error: timed out", "the answer without a connection")
        upstream.release()
        equal(first.hear(), "re:long", "the answer of the first")
        while (answer := second.ask("again")) == "error: timed out":   # before it was free: this machine is slow
            pass
        equal(answer, "re:again", "the answer when the connection is free")
        equal(upstream.seen, ["long", "again"], "what the upstream was asked")
        first.close()
        second.close()


def test_shutdown_lets_the_answer_through_tells_who_waits_and_closes_all():
    with Upstream() as upstream:
        server = gateway(upstream, connections=2, reply=60_000, patience=60_000)
        watcher, lucky, waiting = Client(server), Client(server), Client(server)
        upstream.holds = lambda request: True
        other = Client(server)
        for n, client in enumerate((lucky, other), 1):
            client.say("x")
            upstream.wait_for_held(n)
        waiting.say("y")
        wait_until(lambda: stats(watcher)["waiting"] == 1, "one waits for a connection")
        server.process.send_signal(signal.SIGTERM)
        equal(waiting.hear(), "error: the pool is closed", "what it tells who waits")
        upstream.release()
        upstream.release()
        equal(lucky.hear(), "re:x", "the answer of a connection that was in use")
        equal(other.hear(), "re:x", "the answer of a connection that was in use")
        server.ended()
        wait_until(lambda: not upstream.open, "all connections to the upstream are closed")
        for one in (watcher, lucky, waiting, other):
            equal(one.hear(), "", "the end of a client's connection")
            one.close()


lib.main()
