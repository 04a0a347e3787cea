#!/usr/bin/env python3
"""Recomputes every number of honest-percentiles.tex by simulation, and writes the data of its last
figure. Standard library only; the seed is fixed, so two runs print the same.

The model: requests are due every 1/RATE seconds for RUN seconds; the server answers in SERVICE
seconds and answers nothing for FREEZE seconds once. Units: seconds.
"""

import math
import random
import statistics
import sys

RATE, RUN, FREEZE, SERVICE, FREEZE_AT = 100, 30.0, 5.0, 0.005, 10.0
FREEZE_END = FREEZE_AT + FREEZE


def percentile(samples, q):
    """The smallest sample that at least the share q of all samples does not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def answered(start):
    """When a request that reaches an idle server at `start` is answered."""
    return (FREEZE_END if FREEZE_AT <= start < FREEZE_END else start) + SERVICE


def due_times():
    """Middles of the slots, so that no request falls due exactly at an edge of the freeze."""
    return [(i + 0.5) / RATE for i in range(int(RUN * RATE))]


def from_due(workers):
    """Latency from the due time; `workers` requests at a time, None for no limit."""
    if workers is None:
        return [answered(due) - due for due in due_times()]
    free = [0.0] * workers
    latencies = []
    for due in due_times():
        worker = min(range(workers), key=free.__getitem__)
        free[worker] = answered(max(due, free[worker]))
        latencies.append(free[worker] - due)
    return latencies


def closed_loop(connections):
    """Latency from sending, for a generator that waits for a free connection and skips what it
    could not send in time."""
    free = [0.0] * connections
    latencies = []
    for due in due_times():
        connection = min(range(connections), key=free.__getitem__)
        if free[connection] <= due:
            free[connection] = answered(due)
            latencies.append(free[connection] - due)
    return latencies


def autocorrelated(rng, count, rho):
    value, series = rng.gauss(0, 1) / math.sqrt(1 - rho * rho), []
    for _ in range(count):
        series.append(value)
        value = rho * value + rng.gauss(0, 1)
    return series


def mann_kendall_rejects(series):
    """Two-sided Mann-Kendall test for a trend at the 5 % level (no ties)."""
    n = len(series)
    s = sum((b > a) - (b < a) for i, a in enumerate(series) for b in series[i + 1 :])
    variance = n * (n - 1) * (2 * n + 5) / 18
    return abs(s) - 1 > 1.959964 * math.sqrt(variance)


def false_alarms(rho, runs=1000, count=120):
    rng = random.Random(7)
    return sum(mann_kendall_rejects(autocorrelated(rng, count, rho)) for _ in range(runs)) / runs


def theil_sen(points):
    return statistics.median(
        (y2 - y1) / (x2 - x1) for i, (x1, y1) in enumerate(points) for x2, y2 in points[i + 1 :]
    )


def sawtooth(path):
    """Six hours of memory: a collector's sawtooth over a leak of 2 MiB an hour, one sample a
    minute; then the floor of each block of 15 minutes."""
    rng = random.Random(7)
    memory, height = [], 0.0
    for minute in range(360):
        height = height + rng.uniform(0.6, 1.4) if height < 24 else rng.uniform(0, 1)
        memory.append((minute / 60, 180 + 2 * minute / 60 + height))
    floors = [min(memory[i : i + 15], key=lambda point: point[1]) for i in range(0, 360, 15)]
    if path:
        with open(path + "/memory.dat", "w") as file:
            file.writelines(f"{x:.4f} {y:.3f}\n" for x, y in memory)
        with open(path + "/floors.dat", "w") as file:
            file.writelines(f"{x:.4f} {y:.3f}\n" for x, y in floors)
    return theil_sen(memory), theil_sen(floors)


def show(name, latencies):
    figures = " ".join(
        f"p{100 * q:g}={1000 * percentile(latencies, q):.0f}" for q in (0.5, 0.9, 0.95, 0.99, 0.999)
    )
    mean = 1000 * statistics.fmean(latencies)
    print(f"{name}: n={len(latencies)} {figures} max={1000 * max(latencies):.0f} mean={mean:.0f} ms")


def main():
    truth = from_due(None)
    show("from the due time, no limit", truth)
    show("from the due time, one at a time", from_due(1))
    for connections in (1, 10, 50, 150, 200):
        show(f"closed loop, {connections}", closed_loop(connections))
    thirds = [truth[i : i + 1000] for i in (0, 1000, 2000)]
    p95s = [percentile(third, 0.95) for third in thirds]
    print("p95 of each third:", [round(1000 * p) for p in p95s],
          "mean:", round(1000 * statistics.fmean(p95s)))
    for rho in (0.0, 0.5, 0.9):
        print(f"Mann-Kendall on AR(1) {rho}: {100 * false_alarms(rho):.1f} % false alarms")
    raw, floor = sawtooth(sys.argv[1] if len(sys.argv) > 1 else None)
    print(f"slope of all samples {raw:.2f}, of the floors {floor:.2f} MiB/h")


if __name__ == "__main__":
    main()
