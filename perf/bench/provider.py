"""The measuring part of provider.sh, which see. usage: provider.py WORK"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import common

QPS = int(os.environ.get("QPS", 200))
SECONDS = int(os.environ.get("SECONDS_EACH", 30))
LATENCY_MS = int(os.environ.get("LATENCY_MS", 100))
WARM_UP_S = 5
DOCUMENTS = 300
DOCUMENTS_A_CALL = 100
MOST_ABOVE_MS = 15
PERCENTILES = ("p50", "p90", "p95", "p99", "max")
WORDS = ("otter bee harbour lantern glacier violin orchard compass ember meadow falcon anchor "
         "cedar pebble ribbon saddle thimble walnut canyon drizzle").split()


@contextlib.contextmanager
def standin():
    """The stand-in: its base URL, as http://127.0.0.1:40123/v1."""
    process = subprocess.Popen([os.environ["STANDIN"], "--latency-ms", str(LATENCY_MS)],
                               stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def counters(base_url):
    """Calls that were answered by status, and texts in them, until now."""
    with urllib.request.urlopen(base_url.replace("/v1", "/control"), timeout=10) as reply:
        body = json.load(reply)
    calls = body["requests"].get("/v1/embeddings", {})
    return {"calls": sum(calls.values()), "failed": sum(calls.values()) - calls.get("200", 0),
            "texts": body["inputs"]}


def fill(daemon, draw):
    """Stores documents of a few sentences each."""
    texts = [" ".join(f"The {draw.choice(WORDS)} is near the {draw.choice(WORDS)} {number}."
                      for _ in range(5)) for number in range(DOCUMENTS)]
    for start in range(0, DOCUMENTS, DOCUMENTS_A_CALL):
        batch = [{"source": f"{number}.md", "content": texts[number]}
                 for number in range(start, start + DOCUMENTS_A_CALL)]
        status, reply = daemon.request("POST", "/v1/documents", batch)
        if status != 200:
            common.fail(f"the documents were refused: {status} {reply}", "see the daemon's log")


def queries(name, draw):
    """Queries of which every second one repeats an earlier one; more than are asked."""
    asked = []
    for number in range(QPS * SECONDS * 3 // 2):
        fresh = f"{name} {number}: where is the {draw.choice(WORDS)} of the {draw.choice(WORDS)}?"
        asked.append(fresh if number % 2 == 0 else draw.choice(asked))
    return asked


def soak(daemon, work, asked, seconds):
    """The verdict of a run that asks these queries in turn."""
    file = work / "queries.txt"
    file.write_text("\n".join(asked) + "\n")
    out = pathlib.Path(tempfile.mkdtemp(prefix="provider-", dir=work)) / "run"
    run = subprocess.run(
        [common.alfred(), "soak", "--target", f"http://127.0.0.1:{daemon.port}/v1/query",
         "--queries", file, "--qps", str(QPS), "--duration", f"{seconds}s", "--arrivals", "poisson",
         "--out", out], capture_output=True, text=True, env=common.environment())
    if not (out / "verdict.json").exists():
        common.fail(f"alfred soak ended with {run.returncode}: {run.stderr[-400:]}", "see above")
    return json.loads((out / "verdict.json").read_text())


def report(verdict, calls, different):
    due = verdict["counts"]["due"]
    common.table(("from due, ms", *PERCENTILES), [
        ("response", *(f"{verdict['response_ms'][name]:.1f}" for name in PERCENTILES)),
        ("lag", *(f"{verdict['lag_ms'][name]:.1f}" for name in PERCENTILES))])
    print()
    common.table(("queries", "different", "calls to the provider", "texts in them", "failed calls"),
                 [(due, different, calls["calls"], calls["texts"], calls["failed"])])
    figures = {name: verdict[name] for name in ("response_ms", "lag_ms", "counts", "error_rate")}
    common.finish("provider", figures | {"provider": calls, "different_queries": different,
                                         "latency_ms": LATENCY_MS}, [
        ("calls to the provider", calls["calls"], "<=", different),
        ("p95 ms", verdict["response_ms"]["p95"], "<=", LATENCY_MS + MOST_ABOVE_MS),
        ("error rate", verdict["error_rate"], "<=", 0)])


def main():
    work = pathlib.Path(sys.argv[1])
    draw = random.Random(7)
    store = work / "provider-store"
    shutil.rmtree(store, ignore_errors=True)
    with standin() as base_url:
        extra = {"ALFRED__EMBEDDING__KIND": "openai", "OPENAI_BASE_URL": base_url}
        with common.Daemon(store, work / "provider.log", extra) as daemon:
            fill(daemon, draw)
            soak(daemon, work, queries("before", draw), WARM_UP_S)
            asked = queries("measured", draw)
            before = counters(base_url)
            verdict = soak(daemon, work, asked, SECONDS)
            after = counters(base_url)
    calls = {name: after[name] - before[name] for name in after}
    due = verdict["counts"]["due"]
    report(verdict, calls, len(set(asked[:due])))


if __name__ == "__main__":
    main()
