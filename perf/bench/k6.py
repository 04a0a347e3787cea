"""The measuring part of k6.sh, which see. usage: k6.py WORK"""

import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile

import common

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS_EACH", "20"))
RATE = int(os.environ.get("RATE", "20"))
ANSWER_MS = 50
# Two percentiles agree within the greater of this share of alfred's and this many ms.
GREATER_OF = (0.05, 1.0)
TIMEOUT_S = SECONDS + 60
HERE = pathlib.Path(__file__).parent
PERF = HERE.parent


@contextlib.contextmanager
def target():
    """The URL of a target that answers after ANSWER_MS."""
    process = subprocess.Popen([sys.executable, HERE / "fixed_target.py", str(ANSWER_MS)],
                               stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1/query"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def soak(work, url):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="k6-", dir=work))
    verdict = common.soak_whole(folder / "run", "--target", url, "--queries", PERF / "queryset.txt",
                                "--qps", str(RATE), "--duration", f"{SECONDS}s")
    latency = verdict["response_ms"]
    return {"p50": latency["p50"], "p95": latency["p95"], "requests": verdict["counts"]["due"]}


def k6(work, url, script, variables):
    """What k6 says of that script; every request has to be answered."""
    summary = work / "k6.json"
    summary.unlink(missing_ok=True)
    ended = subprocess.run(
        [os.environ["K6"], "run", "--quiet", "--summary-export", summary, PERF / script],
        capture_output=True, text=True, timeout=TIMEOUT_S,
        env=common.environment() | variables | {"TARGET_URL": url, "K6_NO_USAGE_REPORT": "true"})
    if not summary.exists():
        common.fail(f"k6 ended with {ended.returncode}: {ended.stderr[-400:]}", "see above")
    metrics = json.loads(summary.read_text())["metrics"]
    if ended.returncode != 0 or metrics["http_req_failed"]["value"] > 0:
        common.fail(f"{script} ended with {ended.returncode}: {ended.stdout[-800:]}",
                    "a threshold of the script was crossed")
    took = metrics["http_req_duration"]
    return {"p50": took["med"], "p95": took["p(95)"], "requests": metrics["http_reqs"]["count"]}


def arrivals(work, url):
    return k6(work, url, "k6-arrival-rate.js", {"QPS": str(RATE), "DURATION": str(SECONDS)})


def users(work, url):
    return k6(work, url, "k6-script.js", {"K6_DURATION": f"{SECONDS}s"})


TOOLS = {"alfred soak": soak, "k6-arrival-rate.js": arrivals, "k6-script.js": users}


def main():
    work = pathlib.Path(sys.argv[1])
    runs = {name: [] for name in TOOLS}
    for number in range(ROUNDS):
        for name in list(TOOLS)[::-1 if number % 2 else 1]:
            with target() as url:
                runs[name].append(TOOLS[name](work, url))
            print(f"round {number + 1}: {name}: {runs[name][-1]}", file=sys.stderr, flush=True)
    median = {name: {figure: statistics.median(run[figure] for run in several) for figure in several[0]}
              for name, several in runs.items()}
    common.table(("load generator", "p50 ms", "p95 ms", "requests a run"),
                 [(name, f"{of['p50']:.2f}", f"{of['p95']:.2f}", f"{of['requests']:.0f}")
                  for name, of in median.items()])
    targets = []
    for name in list(TOOLS)[1:]:
        for figure in ("p50", "p95"):
            ours = median["alfred soak"][figure]
            limit = max(GREATER_OF[0] * ours, GREATER_OF[1])
            targets.append((f"{name}: {figure} off alfred's, ms", abs(median[name][figure] - ours),
                            "<=", round(limit, 2)))
    common.finish("k6", {"rounds": runs}, targets)


if __name__ == "__main__":
    main()
