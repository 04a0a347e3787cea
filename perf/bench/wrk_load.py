"""Load by wrk on servers in turn, and what they and it used of the machine.

Environment: ROUNDS (3), SECONDS_EACH (5).
"""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import time

import common

CONNECTIONS = (1, 8, 32)
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS_EACH", "5"))
LOAD = pathlib.Path(__file__).with_name("load.lua")
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    """CPU time that a process has used, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def load(pid, url, bodies, connections):
    """One run of wrk: its figures, and how many cores server and generator used."""
    server_s, mine = cpu_s(pid), resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    run = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--timeout", "10s", "-s",
                          LOAD, url, "--", bodies], capture_output=True, text=True)
    took = time.monotonic() - start
    line = next((one for one in run.stdout.splitlines() if one.startswith("JSON ")), None)
    if run.returncode != 0 or line is None:
        common.fail(f"wrk ended with {run.returncode}: {run.stderr}", "is the server alive?")
    figures = json.loads(line[5:])
    if figures["errors"]:
        common.fail(f"{figures['errors']} errors from {url}", "see the server's log")
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures["per_s"] = figures["requests"] / figures["duration_us"] * 1e6
    figures["server_cores"] = (cpu_s(pid) - server_s) / took
    figures["wrk_cores"] = (now.ru_utime + now.ru_stime - mine.ru_utime - mine.ru_stime) / took
    return figures


def check_cached(daemon, body):
    status, reply = daemon.request("POST", "/v1/query", body)
    if status != 200 or not reply["usage"]["embedding_cached"]:
        common.fail(f"the embedding is not cached: {status} {reply}", "raise embedding.cache_entries")


def measure(servers):
    """(server, connections) -> medians over the rounds, the order of the servers alternating."""
    runs = {}
    for number in range(ROUNDS):
        for connections in CONNECTIONS:
            for name in list(servers)[::-1 if number % 2 else 1]:
                runs.setdefault((name, connections), []).append(load(*servers[name], connections))
    return {key: {field: statistics.median(run[field] for run in several) for field in several[0]}
            for key, several in runs.items()}
