"""The measuring part of recorder.sh, which see. usage: recorder.py WORK RUNS"""

import json
import os
import pathlib
import statistics
import sys

import common

RATE = int(os.environ.get("RATE", "40"))
SECONDS = int(os.environ.get("SECONDS_EACH", "240"))
# Two reasons take turns, 5.7 s each: a window that crossed the threshold, and a request that is open for long.
QUIET_S = 20
QUERIES = pathlib.Path(__file__).parents[1] / "queryset.txt"
# Every window crosses it.
THRESHOLD = "p50<1us"


def soak(work, name):
    """The folder of one run with evidence taken again and again."""
    scenario = work / "recorder.toml"
    scenario.write_text(f"[recorder]\nquiet_s = {QUIET_S}\nmax_takings = {SECONDS}\n")
    out = work / name
    with common.Daemon(common.manual_store(work), work / "daemon.log") as target:
        common.soak_whole(
            out, scenario, "--target", f"http://127.0.0.1:{target.port}/v1/query", "--queries", QUERIES, "--unique",
            "--qps", str(RATE), "--duration", f"{SECONDS}s", "--window", "1s", "--warmup", "2s",
            "--pid", str(target.pid), "--threshold", THRESHOLD)
    return out


def split(out):
    """p99 in ms of the windows that lie within a taking, of those that touch none, and the takings."""
    evidence = [json.loads(file.read_text()) for file in sorted(out.glob("evidence/*/evidence.json"))]
    spans = [(one["at_s"], one["at_s"] + one["took_ms"] / 1e3) for one in evidence]
    within, beside = [], []
    for line in (out / "windows.jsonl").read_text().splitlines():
        window = json.loads(line)
        begin, end = window["window"], window["window"] + 1
        p99_ms = window["response_us"]["p99"] / 1e3
        if any(a <= begin and end <= b for a, b in spans):
            within.append(p99_ms)
        elif all(end <= a or b <= begin for a, b in spans):
            beside.append(p99_ms)
    return within, beside, evidence


def main():
    work, runs = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    rows, ratios, all_evidence = [], [], []
    for number in range(1, runs + 1):
        within, beside, evidence = split(soak(work, f"run-{number}"))
        if min(len(within), len(beside)) < SECONDS / 5:
            common.fail(f"{len(within)} windows within takings and {len(beside)} beside", "set BENCH_DIR and look")
        all_evidence += evidence
        with_ms, without_ms = statistics.median(within), statistics.median(beside)
        ratios.append(with_ms / without_ms)
        rows.append((number, f"{without_ms:.3f} ms", f"{with_ms:.3f} ms", f"{ratios[-1]:.3f}",
                     len(evidence), f"{len(within)}, {len(beside)}"))
    common.table(("run", "p99 without", "p99 with", "ratio", "takings", "windows with, without"), rows)
    names = sorted({file["name"] for one in all_evidence for file in one["files"]})
    cost = {key: statistics.mean(one[key] for one in all_evidence) for key in ("took_ms", "cpu_s", "bytes")}
    print(f"a taking: {cost['took_ms']:.0f} ms, {cost['cpu_s']:.3f} CPU s of alfred, "
          f"{cost['bytes'] / 1e3:.1f} KB: {', '.join(names)}")
    figures = {"rate": RATE, "seconds": SECONDS, "ratios": ratios, "files": names, **cost,
               "load_1m": round(os.getloadavg()[0], 1)}
    common.finish("recorder", figures, [("ratio of p99, median", statistics.median(ratios), "<", 1.05)])


if __name__ == "__main__":
    main()
