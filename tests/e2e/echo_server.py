#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""echo_server: every byte comes back, whatever the sizes, however many clients."""
import hashlib, os, random, selectors, socket, struct, subprocess, threading, time
import lib
from lib import Server, check, equal, receive_all


def test_messages_come_back():
    with Server("echo_server") as server, server.connect() as c:
        for size in [1, 64, 1000, 1024, 1025, 5000]:
            data = os.urandom(size)
            c.sendall(data)
            got = b""
            while len(got) < size:
                part = c.recv(65536)
                check(part, f"the connection ended after {len(got)} of {size} bytes")
                got += part
            check(got == data, f"{size} bytes came back changed")


def test_half_close_gives_everything_back_then_the_end():
    with Server("echo_server") as server, server.connect() as c:
        c.sendall(b"x" * 10_000)
        c.shutdown(socket.SHUT_WR)
        equal(len(receive_all(c)), 10_000, "bytes")


def test_a_slow_reader_gets_64_mebibytes_unchanged():
    size = (64 if lib.RELEASE else 8) << 20
    with Server("echo_server") as server, server.connect(limit=60) as c:
        sent, seed = hashlib.sha256(), random.randrange(1 << 30)

        def send():
            block = random.Random(seed).randbytes(1 << 16)
            for i in range(size >> 16):
                piece = struct.pack("<I", i) + block[4:]
                sent.update(piece)
                c.sendall(piece)
            c.shutdown(socket.SHUT_WR)
        t = threading.Thread(target=send)
        t.start()
        got, received = hashlib.sha256(), 0
        while part := c.recv(1 << 16):
            got.update(part)
            received += len(part)
            if received >> 22 != (received - len(part)) >> 22:
                time.sleep(0.02)   # the buffers between us fill up, and the server's writes have to wait
        t.join()
        equal(received, size, f"bytes (seed {seed})")
        equal(got.hexdigest(), sent.hexdigest(), f"hash (seed {seed})")


def test_500_clients_at_once():
    with Server("echo_server") as server:
        clients = [server.connect() for _ in range(500)]
        for round in range(3):
            for i, c in enumerate(clients):
                c.sendall(f"{round} {i} ".encode() * 10)
            for i, c in enumerate(clients):
                wanted = f"{round} {i} ".encode() * 10
                got = b""
                while len(got) < len(wanted):
                    part = c.recv(4096)
                    check(part, f"client {i} was disconnected")
                    got += part
                equal(got, wanted, f"client {i}")
        for c in clients:
            c.close()
        lib.wait_until(lambda: server.descriptors() < 30, "descriptors are given back")


def test_resets_harm_nobody():
    with Server("echo_server") as server:
        for i in range(300):
            c = server.connect()
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))   # close() sends a reset
            if i % 2:
                c.sendall(b"x" * (i * 300))
            c.close()
        with server.connect() as c:
            c.sendall(b"still there")
            equal(c.recv(100), b"still there", "echo")
        lib.wait_until(lambda: server.descriptors() < 30, "descriptors are given back")
        equal(server.stderr(), "", "stderr")


def test_the_load_generator_is_served():
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "compare", "echo_load.c")
    load = os.path.join(lib.BUILD, "compare", "echo_load")
    os.makedirs(os.path.dirname(load), exist_ok=True)
    lib.run(["cc", "-O2", "-o", load, source])
    with Server("echo_server") as server:
        for connections in ["1", "64", "1000"]:
            out = lib.run([load, str(server.port), connections, "1", str(server.pid)])
            print("  " + out.strip())


def test_an_idle_server_does_nothing():
    if lib.SANITIZED:
        raise lib.Skip("a sanitizer's own thread wakes up")
    with Server("echo_server") as server, server.connect():
        def switches():
            count = {}
            for t in os.listdir(f"/proc/{server.pid}/task"):
                try:
                    with open(f"/proc/{server.pid}/task/{t}/status") as f:
                        count[t] = sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
                except (FileNotFoundError, ProcessLookupError):
                    pass   # a blocking thread whose time was up
            return count
        woken = []
        while not woken or woken[-1] > 5 and len(woken) < 4:   # the first may see it settle
            before = switches()
            time.sleep(2)
            woken.append(sum(n - before.get(t, 0) for t, n in switches().items()))
        check(woken[-1] <= 5, f"context switches in periods of 2 s of doing nothing: {woken}")


lib.main()
