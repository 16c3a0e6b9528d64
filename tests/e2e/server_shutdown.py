#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: the servers stop accepting, answer what is in flight, and exit with 0."""
import signal, socket, threading, time
import lib
from lib import Server, check, equal, receive_all

HELLO = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def sleep_request(ms):
    return f"GET /sleep/{ms} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


def test_idle_servers_end_at_once():
    for name in ["http_server", "echo_server"]:
        for sign in [signal.SIGTERM, signal.SIGINT]:
            with Server(name) as server:
                start = time.monotonic()
                server.stop(sign)
                check(time.monotonic() - start < 1 * lib.SLOW, f"{name} took {time.monotonic() - start:.1f} s to end")


def test_requests_in_flight_are_answered():
    with Server("http_server") as server:
        clients = [server.connect() for _ in range(50)]
        for c in clients:
            c.sendall(sleep_request(400))
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        for i, c in enumerate(clients):
            got = receive_all(c)
            check(got.startswith(b"HTTP/1.1 200 OK\r\n"), f"client {i} of 50 got {got[:80]!r}")
            check(b"Connection: close\r\n" in got, f"client {i} was not told that the connection closes: {got!r}")
        server.ended()


def test_pipelined_requests_that_have_arrived_are_answered():
    with Server("http_server") as server:
        c = server.connect()
        c.sendall(sleep_request(300) + HELLO * 5)
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        equal(receive_all(c).count(b"HTTP/1.1 200 OK\r\n"), 6, "responses")
        server.ended()


def test_nothing_is_accepted_while_requests_finish():
    with Server("http_server") as server:
        c = server.connect()
        c.sendall(sleep_request(1000))
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 0.5 * lib.SLOW
        while True:
            try:
                socket.create_connection(("127.0.0.1", server.port), 1).close()
            except (ConnectionRefusedError, ConnectionResetError):
                break
            check(time.monotonic() < end, "connections are still accepted")
            time.sleep(0.02)
        check(receive_all(c).startswith(b"HTTP/1.1 200 OK\r\n"), "the request in flight was not answered")
        server.ended()


def test_idle_connections_do_not_delay_the_end():
    for name in ["http_server", "echo_server"]:
        with Server(name) as server:
            clients = [server.connect() for _ in range(200)]
            time.sleep(0.1)
            start = time.monotonic()
            server.stop()
            check(time.monotonic() - start < 2 * lib.SLOW, f"{name} took {time.monotonic() - start:.1f} s to end")
            for c in clients:
                equal(receive_all(c), b"", "bytes from an idle connection")


def test_a_request_that_takes_too_long_is_cut_off():
    with Server("http_server", "--grace", "0.3") as server:
        c = server.connect()
        c.sendall(sleep_request(60_000))
        time.sleep(0.1)
        start = time.monotonic()
        server.stop()
        check(0.25 < time.monotonic() - start < 3 * lib.SLOW, f"it took {time.monotonic() - start:.2f} s, with a grace period of 0.3")
        equal(receive_all(c), b"", "bytes from the connection that was cut off")


def test_the_second_signal_ends_the_grace_period():
    with Server("http_server", "--grace", "60") as server:
        c = server.connect()
        c.sendall(sleep_request(60_000))
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
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
        time.sleep(0.5)
        server.stop()
        for t in threads:
            t.join()
        equal(broken, [], "responses that were cut off")
        check(answered[0] > 16, f"only {answered[0]} requests were answered")


def test_the_echo_server_sends_back_what_has_arrived():
    with Server("echo_server") as server:
        c = server.connect()
        data = bytes(range(256)) * 1000
        c.sendall(data)
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        equal(len(receive_all(c)), len(data), "bytes")
        server.ended()


lib.main()
