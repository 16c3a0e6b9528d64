#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""10,000 idle connections, held open by another process, while 64 busy ones are served; and what happens when descriptors run out."""
import os, resource, socket, subprocess, sys
import lib
from lib import Server, check, equal, need, run

HOLDER = r"""
import resource, socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
held = []
for i in range(count):       # a client's port numbers do not suffice for all: several loopback addresses
    held.append(socket.create_connection(("127.0.0.1", port), 30, (f"127.0.0.{2 + i // 5000}", 0)))
print("held", flush=True)
sys.stdin.readline()
lost = 0
for s in held:
    s.setblocking(False)
    try:
        lost += s.recv(1) == b""
    except BlockingIOError:
        pass
print("lost", lost, flush=True)
"""


def permitted(wanted):
    """As many descriptors as can be had: (number, prefix for a program that needs them)."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < wanted + 500:
        if os.geteuid() == 0 and subprocess.run(["prlimit", f"--nofile={wanted + 500}", "true"], capture_output=True).returncode == 0:
            return wanted, ["prlimit", f"--nofile={wanted + 500}"]
        print(f"  scaled down: only {hard} descriptors are permitted")
        wanted = hard - 500
    return wanted, ["prlimit", f"--nofile={wanted + 500}"]


def test_10000_idle_connections_and_64_busy_ones():
    need("wrk", "prlimit")
    count, prefix = permitted(10_000)
    with Server("http_server", "--idle-timeout", "3600", prefix=prefix) as server:
        def memory_kib():
            with open(f"/proc/{server.pid}/status") as f:
                return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
        before = memory_kib()
        holder = subprocess.Popen([*prefix, sys.executable, "-c", HOLDER, str(server.port), str(count)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            equal(holder.stdout.readline(), "held\n", "the holder")
            lib.wait_until(lambda: server.descriptors() > count, f"{count} connections are accepted", 20)
            print(f"  {count} idle connections: {(memory_kib() - before) * 1024 / count:.0f} bytes each in the server")
            lib.wait_until(lambda: server.busy_for(1) < 0.05, "it costs no CPU time when nothing happens")
            out = run(["wrk", "-t1", "-c64", "-d2s", "--timeout", "10s", f"http://127.0.0.1:{server.port}/"])
            check("Socket errors" not in out and "Non-2xx" not in out, f"wrk beside {count} idle connections:\n{out}")
            print("  " + next(line for line in out.splitlines() if "Requests/sec" in line))
            holder.stdin.write("\n")
            holder.stdin.flush()
            equal(holder.stdout.readline(), "lost 0\n", "idle connections that the server has closed")
        finally:
            holder.kill()
            holder.wait()
        lib.wait_until(lambda: server.descriptors() < 100, "descriptors are given back", 20)


def test_running_out_of_descriptors():
    need("prlimit")
    if "undefined" in lib.SANITIZED:
        raise lib.Skip("UBSan itself opens a pipe to see whether memory is there")
    for name, request, answer in [("http_server", b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", b"Hello, world!"), ("echo_server", b"hello", b"hello")]:
        with Server(name, prefix=["prlimit", "--nofile=64"]) as server:
            clients = [server.connect() for _ in range(200)]   # the kernel completes them all; most wait to be accepted
            lib.wait_until(lambda: server.busy_for(2) <= 0.1 * lib.SLOW, f"{name} does not spin while nothing can be accepted")
            served = 0
            for c in clients:   # each that is closed makes room for another
                c.settimeout(5 * lib.SLOW)
                c.sendall(request)
                got = b""
                while not got.endswith(answer):
                    part = c.recv(4096)
                    check(part, f"{name}: connection {served} of 200 was closed unanswered, got {got!r}")
                    got += part
                served += 1
                c.close()
            equal(served, 200, f"{name}: clients served")


lib.main()
