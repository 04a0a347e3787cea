"""The measuring part of recorder.sh, which see. usage: recorder.py WORK PAIRS"""

import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys

import common

RATE = int(os.environ.get("RATE", "500"))
SECONDS = int(os.environ.get("SECONDS_EACH", "30"))
QUIET_S = 10
QUERIES = pathlib.Path(__file__).parents[1] / "queryset.txt"
# Every window crosses it.
THRESHOLD = "p50<1us"


@contextlib.contextmanager
def server():
    """The URL to post to, and the pid that answers."""
    process = subprocess.Popen([os.environ["HTTP_BENCH"], "0"], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip() + "/v1/query", process.pid
    finally:
        process.terminate()
        process.wait(30)


def soak(work, name, records):
    """p99 of one run in ms, and its evidence."""
    scenario = work / "recorder.toml"
    scenario.write_text(f"[recorder]\nquiet_s = {QUIET_S}\n")
    out = work / name
    with server() as (url, pid):
        command = [common.alfred(), "soak", scenario, "--target", url, "--queries", QUERIES, "--qps",
                   str(RATE), "--duration", f"{SECONDS}s", "--window", "1s", "--warmup", "2s", "--pid",
                   str(pid), "--threshold", THRESHOLD, "--out", out]
        command += [] if records else ["--no-recorder"]
        ended = subprocess.run(command, capture_output=True, text=True, env=common.environment())
    if not (out / "verdict.json").exists():
        common.fail(f"alfred soak ended with {ended.returncode}: {ended.stderr[-400:]}", "see above")
    verdict = json.loads((out / "verdict.json").read_text())
    if verdict["counts"]["ok"] != verdict["counts"]["due"]:
        common.fail(f"{name}: not every request was answered: {verdict['counts']}", "lower RATE")
    evidence = [json.loads(file.read_text()) for file in sorted(out.glob("evidence/*/evidence.json"))]
    return verdict["response_ms"]["p99"], evidence


def main():
    work, pairs = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    rows, ratios, all_evidence = [], [], []
    for number in range(1, pairs + 1):
        # Which comes first changes from pair to pair.
        order = (True, False) if number % 2 else (False, True)
        found = {records: soak(work, f"{number}-{'with' if records else 'without'}", records)
                 for records in order}
        (with_ms, evidence), (without_ms, none) = found[True], found[False]
        if none or not evidence:
            common.fail(f"{len(evidence)} and {len(none)} takings", "see the run folders: set BENCH_DIR")
        all_evidence += evidence
        ratios.append(with_ms / without_ms)
        rows.append((number, f"{without_ms:.3f} ms", f"{with_ms:.3f} ms", f"{ratios[-1]:.3f}",
                     len(evidence)))
    common.table(("pair", "p99 without", "p99 with", "ratio", "takings"), rows)
    names = sorted({file["name"] for one in all_evidence for file in one["files"]})
    cost = {key: statistics.mean(one[key] for one in all_evidence) for key in ("took_ms", "cpu_s", "bytes")}
    print(f"a taking: {cost['took_ms']:.0f} ms, {cost['cpu_s']:.3f} CPU s of alfred, "
          f"{cost['bytes'] / 1e3:.1f} KB: {', '.join(names)}")
    figures = {"rate": RATE, "seconds": SECONDS, "ratios": ratios, "files": names, **cost,
               "load_1m": round(os.getloadavg()[0], 1)}
    common.finish("recorder", figures, [("ratio of p99, median", statistics.median(ratios), "<", 1.05)])


if __name__ == "__main__":
    main()
