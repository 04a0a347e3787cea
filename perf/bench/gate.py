"""The measuring part of gate.sh, which see. usage: gate.py WORK QUERIES QPS DURATION"""

import json
import pathlib
import subprocess
import sys
import tempfile

import common

LIMIT_MS = 300
PERCENTILES = ("p50", "p90", "p95", "p99", "p99_9", "max")


def main():
    work, queries, qps, duration = pathlib.Path(sys.argv[1]), *sys.argv[2:5]
    out = pathlib.Path(tempfile.mkdtemp(prefix="gate-", dir=work)) / "run"
    with common.Daemon(work / "manual-store", work / "gate.log") as daemon:
        run = subprocess.run(
            [common.alfred(), "soak", "--target", f"http://127.0.0.1:{daemon.port}/v1/query",
             "--queries", queries, "--qps", qps, "--duration", duration, "--out", out],
            capture_output=True, text=True, env=common.environment())
        memory_mib = common.memory_kib(daemon.pid)["Rss"] / 1024
    if not (out / "verdict.json").exists():
        common.fail(f"alfred soak ended with {run.returncode}: {run.stderr[-400:]}", "see above")
    verdict = json.loads((out / "verdict.json").read_text())
    common.table(("from due, ms", *PERCENTILES), [
        ("response", *(f"{verdict['response_ms'][name]:.1f}" for name in PERCENTILES)),
        ("service", *(f"{verdict['service_ms'][name]:.1f}" for name in PERCENTILES)),
        ("lag", *(f"{verdict['lag_ms'][name]:.1f}" for name in PERCENTILES))])
    counts = verdict["counts"]
    print(f"{verdict['verdict']}: {counts['due']} due, {counts['ok']} ok, {counts['error']} errors; "
          f"resident after the run {memory_mib:.0f} MiB")
    figures = {name: verdict[name] for name in
               ("verdict", "response_ms", "service_ms", "lag_ms", "counts", "error_rate")}
    common.finish("gate", figures | {"rss_mib": memory_mib, "exit_code": run.returncode}, [
        ("exit code", run.returncode, "<=", 0),
        ("p95 ms", verdict["response_ms"]["p95"], "<", LIMIT_MS),
        ("error rate", verdict["error_rate"], "<", 0.01)])


if __name__ == "__main__":
    main()
