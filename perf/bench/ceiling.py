"""The measuring part of ceiling.sh, which see. usage: ceiling.py WORK"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import common

RATES = [int(rate) for rate in os.environ.get("RATES", "1000 3000 10000 20000").split()]
SECONDS = int(os.environ.get("SECONDS_EACH", "10"))
JUDGED_RATE = 3_000
QUERIES = pathlib.Path(__file__).parents[1] / "queryset.txt"
K6_SCRIPT = """
import http from 'k6/http';
export const options = {
  summaryTrendStats: ['p(50)', 'p(95)', 'p(99)'],
  scenarios: {at: {executor: 'constant-arrival-rate', rate: %d, timeUnit: '1s', duration: '%ds',
                   preAllocatedVUs: 200}},
};
const parameters = {headers: {'Content-Type': 'application/json'}};
export default () => http.post('%s', '{"query": "what is the default p95 target?"}', parameters);
"""


@contextlib.contextmanager
def server():
    """The URL to post to."""
    process = subprocess.Popen([os.environ["HTTP_BENCH"], "0"], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip() + "/v1/query"
    finally:
        process.terminate()
        process.wait(30)


def soak(work, url, rate):
    """What alfred says of one run: p99 of response and lag in ms, requests sent, its verdict."""
    out = pathlib.Path(tempfile.mkdtemp(prefix="ceiling-", dir=work)) / "run"
    run = subprocess.run(
        [common.alfred(), "soak", "--target", url, "--queries", QUERIES, "--qps", str(rate),
         "--duration", f"{SECONDS}s", "--out", out],
        capture_output=True, text=True, env=common.environment())
    if not (out / "verdict.json").exists():
        common.fail(f"alfred soak ended with {run.returncode}: {run.stderr[-400:]}", "see above")
    verdict = json.loads((out / "verdict.json").read_text())
    return {"p99_ms": verdict["response_ms"]["p99"], "lag_p99_ms": verdict["lag_ms"]["p99"],
            "ok": verdict["counts"]["ok"], "cores": verdict["generator"]["cpu_cores"],
            "verdict": verdict["verdict"]}


def k6(work, url, rate):
    """What k6 says of one run: p99 of its requests in ms, and how many it made."""
    script, summary = work / "k6.js", work / "k6.json"
    script.write_text(K6_SCRIPT % (rate, SECONDS, url))
    run = subprocess.run([os.environ["K6"], "run", "--quiet", "--summary-export", summary, script],
                         capture_output=True, text=True)
    if not summary.exists():
        common.fail(f"k6 ended with {run.returncode}: {run.stderr[-400:]}", "see above")
    metrics = json.loads(summary.read_text())["metrics"]
    return {"p99_ms": metrics["http_req_duration"]["p(99)"], "ok": metrics["http_reqs"]["count"]}


def main():
    work = pathlib.Path(sys.argv[1])
    figures, rows = {}, []
    with server() as url:
        if not re.fullmatch(r"http://127\.0\.0\.1:\d+/v1/query", url):
            common.fail(f"http_bench says {url!r}", "build the example http_bench")
        for rate in RATES:
            ours, its = soak(work, url, rate), k6(work, url, rate)
            figures[rate] = {"alfred": ours, "k6": its}
            due = rate * SECONDS
            rows.append((rate, f"{ours['ok'] / due:.1%}", f"{ours['lag_p99_ms']:.2f}",
                         f"{ours['p99_ms']:.2f}", f"{ours['cores']:.2f}", ours["verdict"],
                         f"{its['ok'] / due:.1%}", f"{its['p99_ms']:.2f}"))
    common.table(("requests/s", "alfred ok", "lag p99 ms", "p99 ms", "its cores", "its verdict",
                  "k6 ok", "k6's p99 ms"), rows)
    judged = figures.get(JUDGED_RATE, {}).get("alfred")
    targets = [] if judged is None else [
        ("3,000 requests/s: share sent", judged["ok"] / (JUDGED_RATE * SECONDS), ">=", 1),
        ("3,000 requests/s: p99 of lag, ms", judged["lag_p99_ms"], "<", 5)]
    common.finish("ceiling", figures, targets)


if __name__ == "__main__":
    main()
