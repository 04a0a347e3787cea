"""The measuring part of capacity.sh, which see. usage: capacity.py WORK REPEATS STEP"""

import json
import pathlib
import signal
import subprocess
import sys

import common

HERE = pathlib.Path(__file__).parent
TARGETS = (("queue", 150), ("queue", 400), ("refuse", 300))
FROM, UP_TO = 20, 5_000
TIMEOUT_S = 900


def search(work, kind, per_s, name, step):
    """(the record of the search, exit code)"""
    command = [sys.executable, HERE / "limited_target.py", kind, str(per_s)]
    target = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{int(target.stdout.readline())}/"
        out = work / name
        ended = subprocess.run(
            [common.alfred(), "soak", "--target", url, "--body", "{}", "--find-capacity", "--from",
             str(FROM), "--up-to", str(UP_TO), "--step-duration", step, "--out", out],
            capture_output=True, text=True, timeout=TIMEOUT_S, env=common.environment())
    finally:
        target.send_signal(signal.SIGTERM)
        target.wait(10)
    if not (out / "capacity.json").exists():
        common.fail(f"the search ended with {ended.returncode}: {ended.stderr[-400:]}", "see above")
    return json.loads((out / "capacity.json").read_text()), ended.returncode


def rate(record, end):
    """The rate at an end of the interval; 0 where there is none."""
    return (record[end] or {}).get("rate_per_s", 0)


def main():
    work, repeats, step = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    rows, figures, targets = [], [], []
    for kind, per_s in TARGETS:
        for number in range(1, repeats + 1):
            name = f"{kind}-{per_s}-{number}"
            record, code = search(work, kind, per_s, name, step)
            held, broke = rate(record, "held"), rate(record, "broke")
            off = abs(held / per_s - 1) * 100
            rows.append((name, f"{per_s}/s", f"{held:g}/s", f"{broke:g}/s",
                         f"{off:.1f} %", len(record["steps"]), f"{record['took_s']:.0f} s", code))
            figures.append({"target": kind, "per_s": per_s, "held": held,
                            "broke": broke, "off_percent": off, "exit": code,
                            "steps": len(record["steps"]), "took_s": record["took_s"]})
            targets += [(f"{name}: off, %", off, "<=", 5), (f"{name}: exit code", code, "<=", 0)]
    common.table(("search", "truth", "held", "broke", "off", "steps", "took", "exit"), rows)
    common.finish("capacity", figures, targets)


if __name__ == "__main__":
    main()
