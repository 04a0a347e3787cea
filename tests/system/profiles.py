"""Profiles of the installed daemon name its functions, though its debug data is a package of its own."""

import pathlib
import shutil
import subprocess
import tempfile

from machine import Failed
from scenario import Load, Skip, check, make_corpus, scenario

URL = "http://127.0.0.1:8080/debug/pprof/"


def fetch(machine, path, file):
    """Asks from inside, over loopback, and keeps the answer outside."""
    got = machine.start(["curl", "-fsS", "-m", "60", "-o", str(file), URL + path], network_only=True)
    _, error = got.communicate(timeout=90)
    if got.returncode != 0:
        raise Failed(f"{path}: {error.strip()}")


def named(file):
    """The functions of alfred that `go tool pprof` names, those with most time or memory first."""
    folder = str(file.parent)
    top = subprocess.run(
        ["go", "tool", "pprof", "-top", "-cum", "-nodecount=500", str(file)], capture_output=True, text=True,
        timeout=120, check=False, env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder, "PPROF_TMPDIR": folder})
    if top.returncode != 0:
        raise Failed(f"go tool pprof: {top.stderr.strip()}")
    return [line.split(None, 5)[5] for line in top.stdout.splitlines() if "alfred::" in line]


@scenario("profile-names")
def names(machine, context):
    """Profiles of CPU and heap under load, and a flame graph, name functions of alfred."""
    if shutil.which("go") is None:
        raise Skip("go, which reads profiles, is not installed")
    make_corpus(machine, "/srv/load", 50)
    machine.run("alfred ingest '/srv/load/*.md' --root /srv/load")
    load = Load(machine, 15, 200, keep_alive=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            cpu, heap, svg = (pathlib.Path(folder) / name for name in ("cpu.pb.gz", "heap.pb.gz", "flame.svg"))
            fetch(machine, "profile?seconds=5", cpu)
            fetch(machine, "flamegraph?seconds=3", svg)
            fetch(machine, "heap", heap)
            of_cpu, of_heap = named(cpu), named(heap)
            check(any("alfred::search" in name or "alfred::store" in name for name in of_cpu),
                  f"no function that searches in {of_cpu}")
            check(of_heap, "no function of alfred in the profile of the heap")
            check("alfred::" in svg.read_text(), "no function of alfred in the flame graph")
    finally:
        load.stop()
    return f"{len(of_cpu)} functions of alfred in the CPU profile, {len(of_heap)} in the heap's"
