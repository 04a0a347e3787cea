"""What the performance test plan needs around it: PostgreSQL, a provider, Prometheus, and a folder that
looks like the source tree."""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "perf/bench"))

import common  # noqa: E402
import pg_server  # noqa: E402

POSTGRES_PORT, PROMETHEUS_PORT = 5432, 9090
# As on the page, which the stand-in wants to see.
KEY = "sk-your-key"
READY_TIMEOUT_S, STOP_TIMEOUT_S = 30, 10
# A private corpus, for which no pattern of one level would do.
DATASETS = {"datasets/top.md": "# Otters\n\nAn otter holds hands while it sleeps.\n",
            "datasets/notes/2026/bees.md": "# Bees\n\nA bee dances to tell where the flowers are.\n"}
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def loopback_up():
    """Sets the loopback of a new network going; where it goes already, nothing is changed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        named = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack_from("H", fcntl.ioctl(any_socket, SIOCGIFFLAGS, named), 16)[0]
        if not flags & IFF_UP:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | IFF_UP))


def variables(folder):
    """The environment of the first block: little, and nothing of the user's."""
    home = folder / ".stage/home"
    return {
        "PATH": f"{folder}/bin:{os.environ['PATH']}:{os.environ['PG_BIN']}", "HOME": str(home),
        "XDG_DATA_HOME": str(home), "ALFRED__SOAK__RUNS_DIR": str(folder / ".stage/runs"),
        "PPROF_TMPDIR": str(home), "OPENAI_BASE_URL": (folder / ".stage/provider").read_text(),
        # The stand-in is no fast provider in a debug build, and 128 texts are much to hash.
        "ALFRED__EMBEDDING__TIMEOUT_MS": "60000", "K6_NO_USAGE_REPORT": "true"}


def fill(folder):
    """The parts of the source tree that the page names."""
    (folder / ".stage/home").mkdir(parents=True)
    (folder / "bin").mkdir()
    ignored = shutil.ignore_patterns("bench", "__pycache__")
    for name in ("docs", "whitepapers", "perf"):
        shutil.copytree(TREE / name, folder / name, ignore=ignored)
    for path, text in DATASETS.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "bin/k6").symlink_to(os.environ["K6"])
    if shutil.which("python") is None:
        # As the package python-is-python3 does.
        (folder / "bin/python").symlink_to(sys.executable)


class Postgres(pg_server.Server):
    """On the port, with the role, the password and the database that the page names."""

    def __init__(self):
        super().__init__(("fsync=off", "max_connections=60"))
        self.port = POSTGRES_PORT
        self.dsn = f"postgresql://alfred:alfred@localhost:{self.port}/postgres"

    def __enter__(self):
        super().__enter__()
        self.psql("ALTER ROLE alfred PASSWORD 'alfred'")
        self.psql("CREATE DATABASE alfred")
        (self.folder / "data/pg_hba.conf").write_text("host all all localhost scram-sha-256\n")
        self.psql("SELECT pg_reload_conf()")
        self.dsn = f"postgresql://alfred:alfred@localhost:{self.port}/alfred"
        return self


@contextlib.contextmanager
def provider(folder):
    """The stand-in for OpenAI; its address goes into a file."""
    process = subprocess.Popen([os.environ["STANDIN"], "--key", KEY], stdout=subprocess.PIPE, text=True)
    try:
        (folder / ".stage/provider").write_text(process.stdout.readline().strip())
        yield
    finally:
        process.kill()
        process.wait()


class Prometheus:
    """Scrapes the daemon of the page once a second."""

    CONFIG = ("global: {scrape_interval: 1s}\n"
              "scrape_configs: [{job_name: alfred, static_configs: [{targets: ['localhost:8080']}]}]\n")

    def __init__(self, folder):
        self.folder = folder / ".stage/prometheus"

    def __enter__(self):
        self.folder.mkdir()
        (self.folder / "prometheus.yml").write_text(self.CONFIG)
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
                 f"--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}"], stdout=log, stderr=log, cwd=self.folder)
        return self

    def values(self, expression):
        """What an expression comes to now. A first scrape may have to be waited for."""
        asked = urllib.parse.urlencode({"query": expression})
        url = f"http://127.0.0.1:{PROMETHEUS_PORT}/api/v1/query?{asked}"
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5) as reply:
                    found = json.load(reply)["data"]["result"]
                values = [float(one["value"][1]) for one in found]
            except urllib.error.HTTPError as problem:
                raise AssertionError(f"{expression}: {problem.read()}") from None
            except OSError:
                values = []
            if values or time.monotonic() > deadline:
                return values
            time.sleep(0.2)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_TIMEOUT_S)
        self.process.kill()


def end(pid):
    """Ends a process that a block left in the background, and waits until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def all_of(folder):
    """The folder filled and the services around it up: PostgreSQL and Prometheus."""
    fill(folder)
    with provider(folder), Postgres() as postgres, Prometheus(folder) as prometheus:
        yield postgres, prometheus


__all__ = ["all_of", "common", "end", "fill", "loopback_up", "variables"]
