#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""http_server and echo_server against real clients: curl, wrk, ab and h2load must see no failed request."""
import re, tempfile
import lib
from lib import Server, check, equal, need, run


def url(server, path="/"):
    return f"http://127.0.0.1:{server.port}{path}"


def test_curl():
    need("curl")
    with Server("http_server") as server:
        equal(run(["curl", "-sS", url(server)]), "Hello, world!", "body")
        out = run(["curl", "-sS", *["-o", "/dev/null"] * 3, "-w", "%{num_connects} %{http_code} %{size_download}\\n", *[url(server)] * 3])
        equal(out.splitlines(), ["1 200 13", "0 200 13", "0 200 13"], "three requests over one connection")
        equal(run(["curl", "-sS", "-I", url(server)]).splitlines()[0].strip(), "HTTP/1.1 200 OK", "HEAD")
        equal(run(["curl", "-sS", "-0", url(server)]), "Hello, world!", "HTTP/1.0")
        equal(run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", url(server, "/nowhere")]), "404", "an unknown path")
        with tempfile.NamedTemporaryFile("wb") as body:   # curl sends Expect: 100-continue for bodies of more than 1 MiB
            body.write(b"x" * 3_000_000)
            body.flush()
            equal(run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-T", body.name, url(server)]), "413", "a large body")
        equal(run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-d", "a=b", url(server)]), "405", "POST")
        equal(run(["curl", "-sS", "--http2", url(server)]), "Hello, world!", "an offer of HTTP/2 is ignored")


def wrk(server, connections, seconds=2, path="/"):
    """No failed request, and the server gets on. Where other processes hold the machine for a second, wrk may see nothing done: once more then."""
    requests = []
    while not requests or requests[-1] < 100 and len(requests) < 2:
        out = run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", url(server, path)], limit=60)
        check("Socket errors" not in out and "Non-2xx" not in out, f"wrk -c{connections}:\n{out}")
        requests.append(int(re.search(r"(\d+) requests in", out)[1]))
        print(f"  wrk -c{connections} {path}: {re.search(r'Requests/sec: *([0-9.]+)', out)[1]} requests/s")
    check(requests[-1] >= 100, f"wrk -c{connections} {path} made only {requests} requests")


def test_wrk():
    need("wrk")
    with Server("http_server") as server:
        for connections in [1, 64, 1000]:
            wrk(server, connections)


def test_wrk_with_one_worker_and_with_four():
    need("wrk")
    for workers in ["1", "4"]:
        with Server("http_server", "--workers", workers) as server:
            wrk(server, 64, seconds=1)
            wrk(server, 64, seconds=1, path="/sleep/3")


def test_ab():
    need("ab")
    with Server("http_server") as server:
        for keep_alive in [["-k"], []]:
            n = 20_000 // lib.SLOW if keep_alive else 3_000 // lib.SLOW
            out = run(["ab", "-q", "-n", str(n), "-c", "50", *keep_alive, url(server)], limit=60)
            equal(int(re.search(r"Complete requests: *(\d+)", out)[1]), n, f"complete requests of ab {keep_alive}")
            equal(int(re.search(r"Failed requests: *(\d+)", out)[1]), 0, f"failed requests of ab {keep_alive}")
            if keep_alive:
                equal(int(re.search(r"Keep-Alive requests: *(\d+)", out)[1]), n, "requests on kept connections")


def test_h2load():
    need("h2load")
    with Server("http_server") as server:
        for pipelined in ["1", "8"]:
            n = 40_000 // lib.SLOW
            out = run(["h2load", "--h1", "-n", str(n), "-c", "50", "-m", pipelined, url(server)], limit=60)
            found = re.search(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", out)
            equal([int(x) for x in found.groups()], [n, n, n, 0, 0, 0], f"h2load -m{pipelined}: total, done, succeeded, failed, errored, timeout")
            check(f"{n} 2xx" in out, f"h2load -m{pipelined}: {out}")


def test_a_signal_storm_harms_nobody():
    need("wrk")
    import os, signal, threading
    with Server("http_server") as server:
        os.kill(server.pid, signal.SIGWINCH)   # ignored by default, interrupts all the same
        done = threading.Event()

        def storm():
            while not done.wait(0.001):
                os.kill(server.pid, signal.SIGWINCH)
                os.kill(server.pid, signal.SIGCONT)
        t = threading.Thread(target=storm)
        t.start()
        try:
            wrk(server, 64, seconds=1)
        finally:
            done.set()
            t.join()


lib.main()
