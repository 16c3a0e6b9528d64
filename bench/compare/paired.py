# SPDX-License-Identifier: Apache-2.0
"""What the comparison scripts share: building the peers, alternating runs, medians of paired ratios.

The rule, fixed before measuring: a round runs every side once, in random order; a round in which all other processes of the
machine together used more than LIMIT of a core is discarded (and counted); the ratio is the median of the rounds' ratios."""
import json, os, platform, random, re, shutil, statistics, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.join(ROOT, "bench", "compare")
LIMIT = 0.12


def processor():
    with open("/proc/cpuinfo") as f:
        names = [line.split(": ", 1)[1].strip() for line in f if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def machine_cpu():
    """CPU seconds that all processes have used."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return (v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / os.sysconf("SC_CLK_TCK")


def fields(line):
    """The name=number pairs of a line."""
    return {k: float(v) for k, v in re.findall(r"(\w+)=(-?[\d.]+)", line)}


def newer(target, *sources):
    return os.path.exists(target) and all(os.path.getmtime(target) >= os.path.getmtime(s) for s in sources)


def cc(source, out):
    if not newer(out, source):
        os.makedirs(os.path.dirname(out), exist_ok=True)
        subprocess.run(["cc", "-O2", "-pthread", "-o", out, source], check=True)
    return out


# Where `scripts/current-peers` builds the current versions: programs of Debian testing, which need its C library as well.
CURRENT_ROOT = os.path.join(ROOT, "build", "roots", "forky-peers")
CURRENT_BUILD = os.path.join(CURRENT_ROOT, "src", "skua", "build", "release")
CARGO_REGISTRY = "/usr/share/cargo/registry"


def add_options(parser):
    parser.add_argument("--current", action="store_true",
                        help="against the current peers, those of Debian testing (scripts/current-peers builds them), not this machine's")


def peer_command(peer, a, program="micro"):
    """How to start a peer's program, as a list; None where it cannot be had. `a`: the script's arguments."""
    if not a.current:
        path = build_peer(peer, a.build, program)
        return [path] if path else None
    path = built_path(peer, CURRENT_BUILD, program)
    if not os.path.exists(path):
        sys.exit(f"the current {peer} is not there: run scripts/current-peers")
    library = os.path.join(CURRENT_ROOT, "usr", "lib", "x86_64-linux-gnu")
    return [os.path.join(library, "ld-linux-x86-64.so.2"), "--library-path", library, path]


def built_path(peer, build, program):
    out = os.path.join(build, "compare", peer)
    return os.path.join(out, "target", "release", program) if peer in ("tokio", "hyper") else os.path.join(out, program)


def build_peer(peer, build, program="micro"):
    """Builds a peer's programs. Returns the path of one, or None where its compiler or library is missing."""
    out = os.path.join(build, "compare", peer)
    path = built_path(peer, build, program)
    os.makedirs(out, exist_ok=True)
    try:
        if peer == "go":
            if not shutil.which("go"):
                return None
            source = os.path.join(HERE, "go", "micro.go")
            if not newer(path, source):
                subprocess.run(["go", "build", "-o", path, source], check=True, stdout=sys.stderr)
            return path
        if peer == "asio":
            if not os.path.exists("/usr/include/boost/asio.hpp"):
                return None
            source = os.path.join(HERE, "asio", "micro.cpp")
            if not newer(path, source):
                subprocess.run(["g++", "-O2", "-DNDEBUG", "-std=c++20", "-pthread", "-o", path, source], check=True)
            return path
        if peer in ("tokio", "hyper"):
            if not shutil.which("cargo") or not os.path.isdir(CARGO_REGISTRY):
                return None
            sources = "hyper1" if peer == "hyper" and any(n.startswith("hyper-util") for n in os.listdir(CARGO_REGISTRY)) else peer
            shutil.copytree(os.path.join(HERE, sources), out, dirs_exist_ok=True)   # cargo writes a lock file beside its manifest
            subprocess.run(["cargo", "build", "--quiet", "--offline", "--release", "--manifest-path", os.path.join(out, "Cargo.toml"),
                            "--config", 'source.crates-io.replace-with="debian"', "--config", f'source.debian.directory="{CARGO_REGISTRY}"'],
                           check=True, stdout=sys.stderr)
            return path
    except (OSError, subprocess.CalledProcessError):
        return None
    raise ValueError(peer)


class Server:
    """A server process that prints `listening on ADDRESS:PORT`; a fixed port if it does not."""
    def __init__(self, command, port=None, cores=None):
        pin = ["taskset", "-c", cores] if cores else []
        self.process = subprocess.Popen(pin + command, stdout=subprocess.PIPE if port is None else subprocess.DEVNULL, text=True)
        if port is None:
            line = self.process.stdout.readline()
            if "listening on" not in line:
                raise RuntimeError(f"{command[0]} said {line!r}")
            port = int(line.rsplit(":", 1)[1])
        else:
            time.sleep(0.5)
        self.port = port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def rounds(sides, count, run, tries=3):
    """Runs run(side) -> {figure: number} for every side, in random order, until `count` rounds were undisturbed, or tries * count rounds
    were done. Returns ([{side: figures}], disturbed); if none was quiet, all of them count."""
    quiet, noisy = [], []
    while len(quiet) < count and len(quiet) + len(noisy) < tries * count:
        one, others = {}, 0.0
        for side in random.sample(sides, len(sides)):
            one[side] = run(side)
            others = max(others, one[side].get("others", 0.0))
        (quiet if others <= LIMIT else noisy).append(one)
    return (quiet, len(noisy)) if quiet else (noisy, len(noisy))


def ratio(data, figure, ours, theirs):
    """Median, and quartiles, of the rounds' ratios."""
    r = sorted(d[ours][figure] / d[theirs][figure] for d in data if d[theirs][figure] > 0)
    if not r:
        return float("nan"), float("nan"), float("nan")
    q = statistics.quantiles(r, n=4) if len(r) > 1 else [r[0]] * 3
    return statistics.median(r), q[0], q[2]


def median(data, side, figure):
    return statistics.median(d[side][figure] for d in data)


def write_json(path, program, rows):
    """rows: (name, real, cpu, unit, {more}). Google Benchmark's format."""
    benchmarks = [{"name": n, "run_name": n, "run_type": "iteration", "iterations": 1, "real_time": real, "cpu_time": cpu, "time_unit": unit, **more}
                  for n, real, cpu, unit, more in rows]
    context = {"date": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "executable": program, "processor": processor()}
    with open(path, "w") as f:
        json.dump({"context": context, "benchmarks": benchmarks}, f, indent=1)
        f.write("\n")
