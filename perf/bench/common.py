"""What the measuring scripts share: a daemon of their own, HTTP, the machine, the closing table.

Environment: ALFRED, the binary (target/release/alfred); the daemon finds the local model as every
alfred does, or in ALFRED__EMBEDDING__MODELS_DIR. Standard library only.
"""

import contextlib
import http.client
import json
import os
import pathlib
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 40
# These would change what is measured.
AMBIENT = ("POSTGRES_DSN", "OPENAI_API_KEY", "OPENAI_BASE_URL", "REDIS_URL", "TARGET_URL", "QPS",
           "DURATION", "QUERY_FILE")


def fail(what, hint):
    """Says what failed and what to do, and ends the script with code 1."""
    print(f"error: {what}\nhint: {hint}", file=sys.stderr)
    sys.exit(1)


def alfred():
    """The binary under test."""
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    path = pathlib.Path(os.environ.get("ALFRED", pathlib.Path(target) / "release/alfred"))
    if not os.access(path, os.X_OK):
        fail(f"{path} is no program", "cargo build --release, or set ALFRED to the binary")
    return str(path.resolve())


def environment():
    """This environment without what would change what is measured."""
    return {name: value for name, value in os.environ.items() if name not in AMBIENT}


def free_port():
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Daemon:
    """`alfred serve` on a store of its own and a free port; stopped by pid on leaving. `extra`: more of
    its environment."""

    def __init__(self, store, log, extra=None):
        self.store, self.log, self.port = str(store), pathlib.Path(log), free_port()
        self.extra = extra or {}
        self.process = None

    def start(self):
        """Starts the process; does not wait."""
        command = [alfred(), "--store", self.store, "serve", "--listen", f"127.0.0.1:{self.port}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log,
                                            env=environment() | self.extra)
        return self

    def __enter__(self):
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self.process.pid

    def wait_ready(self, step_s=0.02):
        """Returns at the first 200 from /readyz."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                fail(f"the daemon ended with {self.process.returncode}", self.log.read_text()[-800:])
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/readyz")[0] == 200:
                    return
            time.sleep(step_s)
        fail(f"the daemon is not ready after {READY_TIMEOUT_S} s", self.log.read_text()[-800:])

    def request(self, method, path, body=None):
        """One request on a connection of its own: (status, decoded JSON or bytes)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        with contextlib.closing(connection):
            return exchange(connection, method, path, body)

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def manual_store(work):
    """A store with the manual in it, made once in the folder `work`."""
    store = work / "store"
    if not store.exists():
        subprocess.run([alfred(), "--store", store, "ingest", "docs/*.md"], check=True, capture_output=True,
                       cwd=ROOT, env=environment())
    return store


def exchange(connection, method, path, body=None):
    """One request on an open connection: (status, decoded JSON or bytes)."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    reply = connection.getresponse()
    data = reply.read()
    is_json = "json" in reply.headers.get("Content-Type", "")
    return reply.status, json.loads(data) if is_json else data


@contextlib.contextmanager
def work_folder():
    """A folder for this run: BENCH_DIR when set (kept), else a temporary one."""
    if given := os.environ.get("BENCH_DIR"):
        pathlib.Path(given).mkdir(parents=True, exist_ok=True)
        yield pathlib.Path(given)
        return
    with tempfile.TemporaryDirectory(prefix="alfred-bench-") as folder:
        yield pathlib.Path(folder)


def memory_kib(pid):
    """Rss, Pss and Anonymous of a process, in KiB."""
    fields = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        fields[name.rstrip(":")] = int(value)
    return {name: fields[name] for name in ("Rss", "Pss", "Anonymous")}


def machine():
    """What the figures depend on."""
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                if line.startswith("model name")), platform.machine())
    with open("/proc/meminfo") as lines:
        memory_gib = round(int(next(lines).split()[1]) / 2**20, 1)
    version = subprocess.run([alfred(), "--version"], capture_output=True, text=True, check=True)
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "memory_gib": memory_gib,
            "kernel": platform.release(), "alfred": version.stdout.strip(),
            "load_1m": round(os.getloadavg()[0], 1)}


def soak_whole(out, *arguments):
    """Runs `alfred soak` into the folder `out`; answers its verdict. Every request has to be answered."""
    ended = subprocess.run([alfred(), "soak", *arguments, "--out", out], capture_output=True, text=True,
                           env=environment())
    if not (out / "verdict.json").exists():
        fail(f"alfred soak ended with {ended.returncode}: {ended.stderr[-400:]}", "see above")
    verdict = json.loads((out / "verdict.json").read_text())
    if verdict["counts"]["ok"] != verdict["counts"]["due"]:
        fail(f"{out.name}: not every request was answered: {verdict['counts']}", "lower RATE")
    return verdict


def table(header, rows):
    """Prints a Markdown table with its columns aligned."""
    rows = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(header))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def finish(bench, figures, targets):
    """Prints each target and the JSON line; exits 1 when one is missed.

    `targets`: (name, value, ">=" or "<=" or "<", limit).
    """
    met = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, "<": lambda a, b: a < b}
    judged = [{"name": name, "value": value, "target": f"{relation} {limit}",
               "pass": bool(met[relation](value, limit))} for name, value, relation, limit in targets]
    print()
    for one in judged:
        verdict = "met" if one["pass"] else "MISSED"
        print(f"{verdict}: {one['name']} = {one['value']:.4g} (target {one['target']})")
    print(json.dumps({"bench": bench, "machine": machine(), "figures": figures, "targets": judged}))
    sys.exit(0 if all(one["pass"] for one in judged) else 1)
