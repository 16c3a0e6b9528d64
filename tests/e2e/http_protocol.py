#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""http_server against raw sockets: what HTTP/1.1 asks for, and what hostile or broken clients send."""
import email.utils, socket, time
import lib
from lib import Server, check, equal, receive_all

HELLO = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


class Client:
    """A connection that reads responses one by one."""

    def __init__(self, server, **more):
        self.socket, self.rest = server.connect(**more), b""

    def send(self, data):
        self.socket.sendall(data)

    def read(self, wanted):
        while len(self.rest) < wanted:
            part = self.socket.recv(65536)
            if not part:
                break
            self.rest += part
        got, self.rest = self.rest[:wanted], self.rest[wanted:]
        return got

    def response(self, head=False):
        """(status, {field: value}, body); None at the end of the stream."""
        while b"\r\n\r\n" not in self.rest:
            part = self.socket.recv(65536)
            if not part:
                check(not self.rest, f"the connection ended inside a response: {self.rest!r}")
                return None
            self.rest += part
        top, self.rest = self.rest.split(b"\r\n\r\n", 1)
        lines = top.decode().split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        equal(version, "HTTP/1.1", "version of the response")
        fields = {}
        for line in lines[1:]:
            name, value = line.split(": ", 1)
            check(name.lower() not in fields, f"{name} comes twice")
            fields[name.lower()] = value
        body = b"" if head or status == "100" else self.read(int(fields["content-length"]))
        return int(status), fields, body

    def end(self):
        return self.socket.recv(1) == b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def ask(server, data):
    """Sends it on a connection of its own and gives the response and whether the server then closed: whether it leaves another request unanswered."""
    with Client(server) as c:
        c.send(data)
        r = c.response()
        check(r is not None, f"no response to {data[:60]!r}")
        try:
            c.send(HELLO)
            closed = c.response() is None
        except (BrokenPipeError, ConnectionResetError):
            closed = True
        return *r, closed


def test_a_request_is_answered_with_length_and_date():
    with Server("http_server") as server, Client(server) as c:
        before = time.time()
        c.send(HELLO)
        status, fields, body = c.response()
        equal((status, body), (200, b"Hello, world!"), "response")
        equal(fields["content-length"], "13", "Content-Length")
        date = email.utils.parsedate_to_datetime(fields["date"]).timestamp()
        check(fields["date"].endswith(" GMT") and before - 3 < date <= time.time(), f"Date is {fields['date']}")

        def date_now():
            c.send(HELLO)
            return c.response()[1]["date"]
        lib.wait_until(lambda: date_now() != fields["date"], "the date goes on")


def test_a_connection_is_kept_alive_and_closed_on_request():
    with Server("http_server") as server:
        with Client(server) as c:
            for _ in range(100):
                c.send(HELLO)
                equal(c.response()[0], 200, "status")
            c.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            equal(c.response()[1].get("connection"), "close", "Connection")
            check(c.end(), "the connection is open after Connection: close")
        with Client(server) as c:
            c.send(b"GET / HTTP/1.0\r\n\r\n")
            equal(c.response()[2], b"Hello, world!", "body for HTTP/1.0")
            check(c.end(), "an HTTP/1.0 connection is kept open unasked")
        with Client(server) as c:
            for _ in range(2):
                c.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                equal(c.response()[1].get("connection"), "keep-alive", "Connection for HTTP/1.0")


def test_head_has_the_fields_of_get_and_no_body():
    with Server("http_server") as server, Client(server) as c:
        c.send(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n" + HELLO)
        status, fields, _ = c.response(head=True)
        equal((status, fields["content-length"]), (200, "13"), "HEAD")
        equal(c.response()[2], b"Hello, world!", "body of the GET behind it")


def test_pipelined_requests_are_answered_in_order():
    with Server("http_server") as server, Client(server) as c:
        paths = ["/", "/nowhere", "/sleep/20", "/"] * 50
        c.send(b"".join(f"GET {p} HTTP/1.1\r\nHost: test\r\n\r\n".encode() for p in paths))
        got = [c.response()[0] for _ in paths]
        equal(got, [404 if p == "/nowhere" else 200 for p in paths], "statuses")


def test_a_request_may_come_byte_by_byte():
    with Server("http_server") as server, Client(server) as c:
        for b in b"GET /nowhere?q=1 HTTP/1.1\r\nHost: test\r\nX-Long: " + b"x" * 30 + b"\r\n\r\n":
            c.send(bytes([b]))
        equal(c.response()[0], 404, "status")


def test_a_client_that_has_half_closed_is_answered():
    with Server("http_server") as server, Client(server) as c:
        c.send(HELLO * 3)
        c.socket.shutdown(socket.SHUT_WR)
        equal([c.response()[0] for _ in range(3)], [200] * 3, "statuses")
        check(c.end(), "the server does not close")


def test_errors():
    with Server("http_server") as server:
        def status(data):
            return ask(server, data)[0]
        equal(status(b"GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n"), 404, "unknown path")
        code, fields, _, closed = ask(server, b"DELETE / HTTP/1.1\r\nHost: test\r\n\r\n")
        equal((code, fields.get("allow"), closed), (405, "GET, HEAD", False), "another method")
        for garbage in [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost test\r\n\r\n",
                        b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
                        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"\x00" * 100,
                        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]:
            code, fields, _, closed = ask(server, garbage)
            equal((code, fields.get("connection"), closed), (400, "close", True), f"answer to {garbage!r}")
        equal(status(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505, "another version")
        equal(status(HELLO), 200, "and the server serves on")


def test_limits():
    with Server("http_server") as server:
        def status(data):
            return ask(server, data)[0]
        equal(status(b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"x" * 7000 + b"\r\n\r\n"), 200, "header of 7 KB")
        equal(status(b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"x" * 9000 + b"\r\n\r\n"), 431, "header of 9 KB")
        equal(status(b"GET / HTTP/1.1\r\nHost: test\r\n" + b"X: y\r\n" * 100_000), 431, "header without end")
        equal(status(b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\nHost: test\r\n\r\n"), 414, "long target")
        equal(status(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000), 413, "large body")
        chunks = b"8000\r\n" + b"x" * 0x8000 + b"\r\n8001\r\n" + b"x" * 0x8001 + b"\r\n0\r\n\r\n"
        equal(status(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks), 413, "large chunked body")
        equal(status(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip\r\n\r\n"), 501, "transfer coding that is not known")


def test_small_bodies_are_skipped():
    with Server("http_server") as server, Client(server) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nGET /" + HELLO)
        equal([c.response()[0] for _ in range(2)], [200, 200], "with a length")
        c.send(b"GET / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + HELLO)
        equal([c.response()[0] for _ in range(2)], [200, 200], "chunked")
        c.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello" + HELLO)
        equal([c.response()[0] for _ in range(2)], [405, 200], "of a POST")


def test_expect():
    with Server("http_server") as server:
        with Client(server) as c:
            c.send(b"GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            equal(c.response()[0], 100, "first answer")
            c.send(b"hello")
            equal(c.response()[0], 200, "final answer")
        with Client(server) as c:
            c.send(b"GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello")
            equal(c.response()[0], 200, "no 100 if the body is there already")
        equal(ask(server, b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n")[0], 413, "a body that would be refused")
        equal(ask(server, b"GET / HTTP/1.1\r\nHost: test\r\nExpect: tea\r\n\r\n")[0], 417, "another expectation")


def test_slow_and_idle_clients_time_out():
    with Server("http_server", "--header-timeout", "0.3", "--idle-timeout", "2") as server:
        with Client(server) as slow, Client(server) as dripping, Client(server) as idle, Client(server) as silent:
            start = time.monotonic()
            slow.send(b"GET / HTTP/1.1\r\nHo")
            idle.send(HELLO)
            equal(idle.response()[0], 200, "status")
            for _ in range(5):   # a byte now and then does not win time
                dripping.send(b"G" if _ == 0 else b"E" if _ == 1 else b"T" if _ == 2 else b" ")
                time.sleep(0.1)
            equal(slow.response()[0], 408, "answer to a header that does not end")
            equal(dripping.response()[0], 408, "answer to a header that drips")
            check(slow.end() and dripping.end(), "the slow connections are open")
            check(idle.end() and silent.end(), "the idle connections are open")
            seconds = time.monotonic() - start
            check(2 <= seconds, f"the idle connections were closed after {seconds:.2f} s, not 2")
        lib.wait_until(lambda: server.descriptors() < 20, "descriptors are given back")


def test_a_client_that_does_not_read_is_dropped():
    with Server("http_server", "--idle-timeout", "0.5") as server, Client(server) as c:
        c.socket.setblocking(False)
        sent, end = 0, time.monotonic() + 20 * lib.SLOW
        before = server.descriptors()
        while server.descriptors() >= before:   # requests without end, and no answer is read
            check(time.monotonic() < end, f"a client that sent {sent} bytes and read none is still connected")
            try:
                sent += c.socket.send(HELLO * 1000)
            except BlockingIOError:
                time.sleep(0.02)
            except (BrokenPipeError, ConnectionResetError):
                break


def test_resets_harm_nobody():
    with Server("http_server") as server:
        before = server.descriptors()
        for i in range(300):
            s = server.connect()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")   # close() sends a reset
            if i % 3:
                s.sendall(HELLO if i % 3 == 1 else b"GET /sleep/5 HTTP/1.1\r\nHost: test\r\n\r\n")
            s.close()
        equal(ask(server, HELLO)[0], 200, "status afterwards")
        lib.wait_until(lambda: server.descriptors() <= before, "descriptors are given back")
        equal(server.stderr(), "", "stderr")


lib.main()
