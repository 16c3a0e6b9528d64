# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: programs of a build tree, servers that are always ended, clear words about what failed.

A test file defines functions named test_*, and ends with lib.main(). Its first argument is the build tree; further ones choose tests."""
import contextlib, os, re, signal, socket, subprocess, sys, tempfile, threading, time, traceback

if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
    print(f"usage: {os.path.basename(sys.argv[0])} BUILD_TREE [TEST...]")
    sys.exit(0 if len(sys.argv) > 1 else 2)
BUILD = os.path.abspath(sys.argv[1])


def cached(name):
    """A value of the build tree's CMake cache."""
    with contextlib.suppress(OSError), open(os.path.join(BUILD, "CMakeCache.txt")) as f:
        for line in f:
            if line.startswith(name + ":"):
                return line.split("=", 1)[1].strip()
    return ""


SANITIZED = cached("SKUA_SANITIZE")   # "address,undefined", "thread" or ""
RELEASE = cached("CMAKE_BUILD_TYPE") == "Release"
SLOW = 1 if RELEASE else 8 if SANITIZED else 4   # how much longer things may take


class Skip(Exception):
    """The machine lacks something that the test needs."""


def example(name):
    path = os.path.join(BUILD, "examples", name)
    if not os.path.exists(path):
        raise AssertionError(f"{path} is not built")
    return path


def check(ok, what):
    if not ok:
        raise AssertionError(what)


def equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def need(*programs):
    for p in programs:
        if not any(os.access(os.path.join(d, p), os.X_OK) for d in os.environ["PATH"].split(":")):
            raise Skip(f"{p} is not installed")


def run(command, limit=30, code=0, **more):
    """Runs a command to its end; gives its stdout. Fails on another exit code, and on what outlasts `limit` seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, **more)
    except subprocess.TimeoutExpired as e:
        raise AssertionError(f"{' '.join(command)}: not done after {limit} s; so far: {(e.stdout or b'').decode()[-500:]}") from None
    check(done.returncode == code, f"{' '.join(command)}: exit code {done.returncode}, wanted {code}\n"
                                   f"stdout: {done.stdout[-1500:]}\nstderr: {done.stderr[-1500:]}")
    return done.stdout


class Server:
    """A server program of the examples on a free port. Leaving the block stops it with SIGTERM, and it must exit with 0."""

    def __init__(self, name, *arguments, prefix=(), env=None, stop_within=10):
        self.name, self.stop_within = name, stop_within * SLOW
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([*prefix, example(name), "--port", "0", *arguments], stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        env={**os.environ, **(env or {})})
        watchdog = threading.Timer(20, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        found = re.fullmatch(r"listening on \S+:(\d+)\n", line)
        if not found:
            self.kill()
            raise AssertionError(f"{name} said {line!r} in place of its port; stderr: {self.stderr()}")
        self.port = int(found[1])
        self.pid = self.process.pid

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read()[-3000:]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, sign=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(sign)
        self.ended()

    def ended(self):
        """It ends by itself from here on, with 0."""
        try:
            code = self.process.wait(self.stop_within)
        except subprocess.TimeoutExpired:
            with open(f"/proc/{self.pid}/status") as f:
                state = [line.strip() for line in f if line.startswith(("State", "Threads"))]
            self.kill()
            raise AssertionError(f"{self.name} has not ended {self.stop_within} s after SIGTERM ({state}); stderr: {self.stderr()}") from None
        check(code == 0, f"{self.name} ended with {code}; stderr: {self.stderr()}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            return self.stop()
        if self.process.poll() is None:
            self.kill()
        said = self.stderr()
        if said:
            print(f"  {self.name} said on stderr: {said}")

    def connect(self, limit=10, source="127.0.0.1"):
        s = socket.create_connection(("127.0.0.1", self.port), limit * SLOW, (source, 0))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def has_read(self, clients):
        """Every one of these connections has been accepted, and the server has read all that was sent on it."""
        with open("/proc/net/tcp") as f:
            rows = [line.split() for line in f.readlines()[1:]]
        mine, waiting = f":{self.port:04X}", {f":{c.getsockname()[1]:04X}" for c in clients}
        for row in rows:   # 1: local address, 2: remote address, 4: queues, 9: inode, 0 until it is accepted
            if row[1].endswith(mine) and row[2][-5:] in waiting and row[4].endswith(":00000000") and row[9] != "0":
                waiting.discard(row[2][-5:])
        return not waiting

    def wait_until_read(self, *clients):
        wait_until(lambda: self.has_read(clients), "the server has read what was sent")

    def wait_until_it_refuses(self):
        """It has closed its listener."""
        def refused():
            try:
                socket.create_connection(("127.0.0.1", self.port), 10 * SLOW).close()
            except (ConnectionRefusedError, ConnectionResetError):
                return True
            return False
        wait_until(refused, "connections are refused", 30)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_s(self):
        with open(f"/proc/{self.pid}/stat") as f:
            v = f.read().rsplit(")", 1)[1].split()
        return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")

    def busy_for(self, seconds):
        """The CPU time that it takes within so many seconds."""
        before = self.cpu_s()
        time.sleep(seconds)
        return self.cpu_s() - before


def receive_all(s):
    """What comes until the other side has closed. A reset counts as closed."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while part := s.recv(65536):
            got += part
    return got


def wait_until(true, what, limit=10):
    end = time.monotonic() + limit * SLOW
    while not true():
        check(time.monotonic() < end, f"{what}: not within {limit * SLOW} s")
        time.sleep(0.02)


def main():
    tests = [(n, f) for n, f in vars(sys.modules["__main__"]).items() if n.startswith("test_") and (len(sys.argv) < 3 or n in sys.argv[2:])]
    failed = skipped = 0
    for name, test in tests:
        start = time.monotonic()
        try:
            test()
            verdict = "ok"
        except Skip as e:
            skipped += 1
            verdict = f"skipped: {e}"
        except AssertionError as e:
            failed += 1
            verdict = f"FAILED: {e}"
        except Exception:
            failed += 1
            verdict = f"FAILED:\n{traceback.format_exc()}"
        print(f"{name} ({time.monotonic() - start:.1f} s): {verdict}", flush=True)
    print(f"{failed} of {len(tests)} failed")
    sys.exit(1 if failed or not tests else 77 if skipped == len(tests) else 0)
