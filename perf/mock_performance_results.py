"""MOCK: the block of the quick gate, from a simulated run. Nothing is asked and nothing is measured.

    python perf/mock_performance_results.py [--seed N] [--out FILE]

For looking at the format where no daemon can run. Every output says MOCK: the block on standard output,
and the JSON (mock_performance_results.json in the current folder, else FILE), which has `"mock": true`
and no key `verdict`. It is no run folder, so `alfred report` and the release script refuse it.
The exit code is 0 whatever the simulation says, since it decides nothing. Standard library only.
"""

import argparse
import json
import math
import pathlib
import random
import sys

sys.dont_write_bytecode = True  # where it is installed, no folder is to appear beside it

from harness_scaffold import block  # noqa: E402

REQUESTS = 600
ERROR_PROBABILITY = 0.005
# Latencies are log-normal, with these percentiles; a request that fails counts as the timeout.
MEDIAN_MS, P95_MS, TIMEOUT_MS = 110, 220, 10_000
SIGMA = math.log(P95_MS / MEDIAN_MS) / 1.6449
# One of those whose figures come near the percentiles above.
DEFAULT_SEED = 685
MARK = "MOCK "
# What alfred itself writes: a mock of that name could be taken for a result.
RUN_FILES = ("verdict.json", "run.json", "capacity.json")


def nearest_rank(ordered, share):
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def simulate(seed):
    """The figures of one simulated run, in the shape of those of `alfred soak`."""
    chance = random.Random(seed)
    failed = [chance.random() < ERROR_PROBABILITY for _ in range(REQUESTS)]
    took = [chance.lognormvariate(math.log(MEDIAN_MS), SIGMA) for _ in range(REQUESTS)]
    ordered = sorted(TIMEOUT_MS if fails else ms for fails, ms in zip(failed, took))
    p50, p95, p99 = (round(nearest_rank(ordered, share)) for share in (0.5, 0.95, 0.99))
    error_rate = sum(failed) / REQUESTS
    thresholds = [{"expr": "p95<300ms", "scope": "run", "value": p95, "pass": p95 < 300},
                  {"expr": "error_rate<1%", "scope": "run", "value": error_rate, "pass": error_rate < 0.01}]
    return {"verdict": "PASS" if all(one["pass"] for one in thresholds) else "FAIL",
            "reasons": [f"{one['expr']} was crossed" for one in thresholds if not one["pass"]],
            "counts": {"due": REQUESTS, "ok": REQUESTS - sum(failed), "error": sum(failed)},
            "error_rate": error_rate, "response_ms": {"p50": p50, "p95": p95, "p99": p99},
            "thresholds": thresholds}


def main():
    parser = argparse.ArgumentParser(description="MOCK: a simulated result; nothing is measured")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of the simulation [default: 685]")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("mock_performance_results.json"),
                        help="where the JSON goes [default: mock_performance_results.json]")
    given = parser.parse_args()
    if given.out.name in RUN_FILES:
        parser.error(f"{given.out.name} is a name of real results; choose another with --out")
    sys.stdout.reconfigure(encoding="utf-8")
    run = simulate(given.seed)
    mock = {"mock": True, "note": "MOCK: simulated, nothing was measured", "seed": given.seed,
            **{f"mock_{name}": value for name, value in run.items()}}
    try:
        given.out.write_text(json.dumps(mock, indent=2) + "\n", encoding="utf-8")
    except OSError as problem:
        print(f"error: {given.out} cannot be written: {problem.strerror}\n"
              "hint: choose another place with --out", file=sys.stderr)
        return 1
    print(block(run, MARK))
    print(f"\nMOCK: simulated with seed {given.seed}, nothing was measured")
    return 0


if __name__ == "__main__":
    sys.exit(main())
