"""The measuring part of http_vs_chroma.sh, which see. usage: http_vs_chroma.py WORK VECTORS"""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.request

import common
from wrk_load import CONNECTIONS, check_cached, measure

LEAST_RATIO = 6
LEAST_INSERT_RATIO = 10


@contextlib.contextmanager
def chroma(folder):
    """A Chroma server on a new store: (pid, port)."""
    port = common.free_port()
    with (folder / "chroma.log").open("wb") as log:
        process = subprocess.Popen(
            [os.environ["CHROMA"], "run", "--path", folder / f"chroma-{port}", "--host", "127.0.0.1",
             "--port", str(port)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/heartbeat", timeout=5).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                common.fail("Chroma does not start", f"see {folder}/chroma.log")
            time.sleep(0.1)
        yield process.pid, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def first_three(url, bodies, rows_of, nearest):
    """Asks each question once, which also warms up; the share of the three nearest that came."""
    host, path = url.removeprefix("http://").split("/", 1)
    connection = http.client.HTTPConnection(host, timeout=60)
    found = 0
    with contextlib.closing(connection), bodies.open() as lines:
        for line, near in zip(lines, nearest):
            status, reply = common.exchange(connection, "POST", f"/{path}", json.loads(line))
            if status not in (200, 201):
                common.fail(f"{url}: {status} {reply}", "see the server's log")
            found += len(set(rows_of(reply)) & set(near[:3]))
    return found / (3 * len(nearest))


def citations(reply):
    return [int(pathlib.PurePath(one["source"]).stem) for one in reply["citations"]]


def alfred_bodies(work, data):
    """Answer kind -> file of bodies."""
    files = {}
    for answer in ("none", "extractive"):
        files[answer] = work / f"alfred-{answer}.jsonl"
        with files[answer].open("w") as bodies:
            for question in (data / "questions.txt").read_text().splitlines():
                bodies.write(json.dumps({"query": question, "top_k": 3, "mode": "vector",
                                         "answer": answer}) + "\n")
    return files


def report(medians, recall, add_per_s, insert_per_s):
    names = list(dict.fromkeys(name for name, _ in medians))
    common.table(
        ("server", "connections", "requests/s", "p50 ms", "p99 ms", "server cores", "wrk cores"),
        [(name, count, f"{one['per_s']:.0f}", f"{one['p50_ms']:.2f}", f"{one['p99_ms']:.2f}",
          f"{one['server_cores']:.2f}", f"{one['wrk_cores']:.2f}")
         for name in names for count in CONNECTIONS for one in [medians[name, count]]])
    print()
    common.table(("", "vectors taken in per s", "share of the 3 nearest found"), [
        ("Chroma", f"{add_per_s:.0f}", f"{recall['Chroma']:.3f}"),
        ("alfred", f"{insert_per_s:.0f}", f"{recall['alfred']:.3f}")])
    peak = max(medians["Chroma", count]["per_s"] for count in CONNECTIONS)
    targets = []
    for name in names[1:]:
        ratio = medians[name, 8]["per_s"] / peak
        targets.append((f"{name}, 8 connections, × Chroma's peak", ratio, ">=", LEAST_RATIO))
        for count in CONNECTIONS:
            targets.append((f"{name}, {count} connections, p99 ms", medians[name, count]["p99_ms"],
                            "<", round(medians["Chroma", count]["p99_ms"], 2)))
    targets.append(("inserts, × Chroma's add", insert_per_s / add_per_s, ">=", LEAST_INSERT_RATIO))
    figures = {f"{name} {count}": one for (name, count), one in medians.items()}
    figures |= {"recall_at_3": recall, "chroma_add_per_s": add_per_s,
                "alfred_insert_per_s": insert_per_s, "chroma_peak_per_s": peak}
    common.finish("http_vs_chroma", figures, targets)


def main():
    work, data = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    nearest = json.loads((data / "nearest.json").read_text())
    insert_per_s = json.loads((work / "fill.json").read_text())["insert_per_s"]
    with chroma(work) as (chroma_pid, chroma_port):
        loader = pathlib.Path(__file__).parent / "peers/chroma_load.py"
        loaded = json.loads(subprocess.run(
            [os.environ["CHROMA_PYTHON"], loader, data, str(chroma_port)], check=True,
            capture_output=True, text=True).stdout.splitlines()[-1])
        print(f"Chroma took the vectors in at {loaded['add_per_s']:.0f}/s")
        chroma_url = f"http://127.0.0.1:{chroma_port}{loaded['path']}"
        with common.Daemon(work / "http-store", work / "http-alfred.log") as daemon:
            url = f"http://127.0.0.1:{daemon.port}/v1/query"
            files = alfred_bodies(work, data)
            recall = {
                "Chroma": first_three(chroma_url, data / "chroma-bodies.jsonl",
                                      lambda reply: map(int, reply["ids"][0]), nearest),
                "alfred": first_three(url, files["none"], citations, nearest)}
            with files["none"].open() as lines:
                check_cached(daemon, json.loads(next(lines)))
            medians = measure({
                "Chroma": (chroma_pid, chroma_url, data / "chroma-bodies.jsonl"),
                "alfred": (daemon.pid, url, files["none"]),
                "alfred with answers": (daemon.pid, url, files["extractive"])})
    report(medians, recall, loaded["add_per_s"], insert_per_s)


if __name__ == "__main__":
    main()
