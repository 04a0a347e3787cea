"""The measuring part of freeze.sh, which see. usage: freeze.py WORK"""

import contextlib
import csv
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import common

RATE = 100
SECONDS = 30
FREEZE = ("10", "5")
TRUE_P95_MS = 3_500
QUERY = '{"query": "is it there?"}'
HERE = pathlib.Path(__file__).parent
TIMEOUT_S = SECONDS + 60

K6_SCRIPT = """
import http from 'k6/http';
export const options = {
  scenarios: { load: { executor: 'constant-arrival-rate', rate: %d, timeUnit: '1s',
                       duration: '%ds', preAllocatedVUs: 10, maxVUs: 10 } },
  thresholds: { http_req_duration: ['p(95)<300'] },
};
export default function () { http.post('%s', '{}'); }
"""


LOCUST_FILE = """
from locust import HttpUser, constant_throughput, task

class User(HttpUser):
    wait_time = constant_throughput(%d)

    @task
    def ask(self):
        self.client.post("/v1/query", json={"query": "is it there?"})
"""
WORKERS = 10


class Target:
    """One run's target: its URL, and after the run what it measured itself."""

    def __init__(self, frozen):
        command = [sys.executable, HERE / "frozen_target.py", *(FREEZE if frozen else ())]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1/query"
        self.own = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.own = json.loads(self.process.communicate(timeout=10)[0])
        self.process.kill()


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S,
                          env=common.environment())


def soak(work, url):
    """(exit code, p95 in ms, requests)"""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="freeze-", dir=work))
    (folder / "queries.txt").write_text("is it there?\n")
    ended = run([common.alfred(), "soak", "--target", url, "--queries", folder / "queries.txt",
                 "--qps", str(RATE), "--duration", f"{SECONDS}s", "--out", folder / "run"])
    if not (folder / "run/verdict.json").exists():
        common.fail(f"alfred soak ended with {ended.returncode}: {ended.stderr[-400:]}", "see above")
    verdict = json.loads((folder / "run/verdict.json").read_text())
    return ended.returncode, verdict["response_ms"]["p95"], verdict["counts"]["due"]


def k6(work, url):
    script, summary = work / "k6.js", work / "k6.json"
    script.write_text(K6_SCRIPT % (RATE, SECONDS, url))
    ended = run([os.environ["K6"], "run", "--quiet", "--summary-export", summary, script])
    metrics = json.loads(summary.read_text())["metrics"]
    return ended.returncode, metrics["http_req_duration"]["p(95)"], metrics["http_reqs"]["count"]


def hey(_, url):
    ended = run(["hey", "-z", f"{SECONDS}s", "-c", str(WORKERS), "-q", str(RATE // WORKERS), "-m", "POST", "-d",
                 QUERY, url])
    p95_s = re.search(r"95%+ in ([\d.]+) secs", ended.stdout)
    requests = sum(map(int, re.findall(r"\[\d+\]\s+(\d+) responses", ended.stdout)))
    return ended.returncode, float(p95_s.group(1)) * 1e3, requests


def oha(_, url, *more):
    ended = run([os.environ["OHA"], "-z", f"{SECONDS}s", "-c", str(WORKERS), "-q", str(RATE), *more,
                 "-m", "POST", "-d", QUERY, "--no-tui", "--output-format", "json", url])
    said = json.loads(ended.stdout)
    requests = sum(said["statusCodeDistribution"].values())
    return ended.returncode, said["latencyPercentiles"]["p95"] * 1e3, requests


def oha_corrected(work, url):
    return oha(work, url, "--latency-correction")


def locust(work, url):
    script, csv_prefix = work / "locust_users.py", work / "locust"
    script.write_text(LOCUST_FILE % (RATE // WORKERS))
    ended = run([os.environ["LOCUST"], "-f", script, "--headless", "--users", str(WORKERS),
                 "--spawn-rate", str(WORKERS), "--run-time", f"{SECONDS}s", "--host",
                 url.removesuffix("/v1/query"), "--csv", csv_prefix, "--only-summary"])
    with open(f"{csv_prefix}_stats.csv", newline="") as lines:
        total = next(row for row in csv.DictReader(lines) if row["Name"] == "Aggregated")
    return ended.returncode, float(total["95%"]), int(total["Request Count"])


def main():
    work = pathlib.Path(sys.argv[1])
    with Target(frozen=True) as target:
        code, p95, due = soak(work, target.url)
    with Target(frozen=False) as sound:
        sound_code, sound_p95, _ = soak(work, sound.url)
    rows = [("alfred soak", f"{p95:.0f} ms", due, "FAIL" if code == 99 else f"exit {code}")]
    figures = {"alfred": {"p95_ms": p95, "requests": due, "exit": code},
               "alfred_no_freeze": {"p95_ms": sound_p95, "target_p95_ms": sound.own["p95_ms"],
                                    "exit": sound_code}}
    for tool in (k6, hey, oha, oha_corrected, locust):
        with Target(frozen=True) as target:
            its_code, its_p95, its_requests = tool(work, target.url)
        rows.append((tool.__name__, f"{its_p95:.1f} ms", its_requests,
                     "PASS" if its_p95 < 300 else "FAIL"))
        figures[tool.__name__] = {"p95_ms": its_p95, "requests": its_requests, "exit": its_code}
    common.table(("load generator", "p95 it reports", "requests", "against p95 < 300 ms"), rows)
    print(f"without the freeze: exit {sound_code}, p95 {sound_p95:.2f} ms, "
          f"the target's own {sound.own['p95_ms']:.2f} ms")
    common.finish("freeze", figures, [
        ("frozen: exit code", code, ">=", 99),
        ("frozen: p95 off the true 3.5 s, %", abs(p95 / TRUE_P95_MS - 1) * 100, "<=", 5),
        ("sound: exit code", sound_code, "<=", 0),
        ("sound: p95 off the target's own, ms", abs(sound_p95 - sound.own["p95_ms"]), "<=", 1)])


if __name__ == "__main__":
    main()
