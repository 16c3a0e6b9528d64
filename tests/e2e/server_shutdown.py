#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: the servers stop accepting, answer what is in flight, and exit with 0."""
import signal, socket, threading, time
import lib
from lib import Server, check, equal, receive_all

HELLO = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def sleep_request(ms):
    return f"GET /sleep/{ms} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


LONG = ["--grace", "600"]   # whoever waits for its end has not ended in time (lib.Server)


def while_it_lasts(attempt):
    """attempt(ms) does something while requests that take `ms` are under way, and says whether it was done before they had ended."""
    ms = 300
    while not attempt(ms):   # the machine was too slow: nothing was shown
        ms *= 2
        check(ms < 60_000, f"a request of {ms // 2} ms has ended first")


def test_idle_servers_end_at_once():
    for name in ["http_server", "echo_server"]:
        for sign in [signal.SIGTERM, signal.SIGINT]:
            with Server(name, *LONG) as server:
                server.stop(sign)


def requests_in_flight(ms, clients, data, wanted):
    """Sent on each connection; then SIGTERM. What comes is checked if the signal was taken note of before a request can have ended."""
    with Server("http_server", *LONG) as server:
        connections = [server.connect() for _ in range(clients)]
        start = time.monotonic()
        for c in connections:
            c.sendall(data)
        server.wait_until_read(*connections)
        server.process.send_signal(signal.SIGTERM)
        server.wait_until_it_refuses()
        in_time = time.monotonic() - start < ms / 1000
        for i, c in enumerate(connections):
            got = receive_all(c)
            if in_time:
                equal(got.count(b"HTTP/1.1 200 OK\r\n"), wanted, f"responses to client {i} of {clients}")
                check(b"Connection: close\r\n" in got, f"client {i} was not told that the connection closes: {got!r}")
        server.ended()
        return in_time


def test_requests_in_flight_are_answered_and_nothing_is_accepted_meanwhile():
    while_it_lasts(lambda ms: requests_in_flight(ms, 50, sleep_request(ms), 1))


def test_pipelined_requests_that_have_arrived_are_answered():
    while_it_lasts(lambda ms: requests_in_flight(ms, 1, sleep_request(ms) + HELLO * 5, 6))


def test_idle_connections_do_not_delay_the_end():
    for name in ["http_server", "echo_server"]:
        with Server(name, *LONG) as server:
            clients = [server.connect() for _ in range(200)]
            server.wait_until_read(*clients)
            server.stop()
            for c in clients:
                equal(receive_all(c), b"", "bytes from an idle connection")


def test_a_request_that_takes_too_long_is_cut_off():
    with Server("http_server", "--grace", "0.3") as server:
        c = server.connect()
        c.sendall(sleep_request(3_600_000))
        server.wait_until_read(c)
        start = time.monotonic()
        server.stop()
        check(0.25 < time.monotonic() - start, f"it took {time.monotonic() - start:.2f} s, with a grace period of 0.3")
        equal(receive_all(c), b"", "bytes from the connection that was cut off")


def test_the_second_signal_ends_the_grace_period():
    with Server("http_server", *LONG) as server:
        c = server.connect()
        c.sendall(sleep_request(3_600_000))
        server.wait_until_read(c)
        server.process.send_signal(signal.SIGTERM)
        server.wait_until_it_refuses()   # two signals that come together are one
        check(server.process.poll() is None, "it has not waited for the request in flight")
        server.stop()
        c.close()


def test_under_load_every_request_sent_before_the_signal_is_answered():
    """Clients that send one request after the other: only the last one of each may find the connection closed, and then without a byte."""
    with Server("http_server") as server:
        answered, broken, started = [0], [], threading.Barrier(17)

        def client():
            c = server.connect()
            started.wait()
            while True:
                try:
                    c.sendall(sleep_request(5))
                    got = b""
                    while b"\r\n\r\nslept" not in got:
                        part = c.recv(4096)
                        if not part:
                            break
                        got += part
                except (ConnectionResetError, BrokenPipeError):
                    return
                if b"\r\n\r\nslept" not in got:
                    if got:
                        broken.append(got)
                    return
                answered[0] += 1
                if b"Connection: close" in got:
                    return
        threads = [threading.Thread(target=client) for _ in range(16)]
        for t in threads:
            t.start()
        started.wait()
        lib.wait_until(lambda: answered[0] > 100, "requests are answered", 60)
        server.stop()
        for t in threads:
            t.join()
        equal(broken, [], "responses that were cut off")


def test_the_echo_server_sends_back_what_has_arrived():
    with Server("echo_server") as server:
        c = server.connect()
        data = bytes(range(256)) * 1000
        c.sendall(data)
        server.wait_until_read(c)
        server.process.send_signal(signal.SIGTERM)
        equal(len(receive_all(c)), len(data), "bytes")
        server.ended()


lib.main()
