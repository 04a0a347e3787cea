"""The measuring part of rate.sh, which see. usage: rate.py WORK [PART...]"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import common

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS_EACH", "5"))
MEMORY_RATE = int(os.environ.get("MEMORY_RATE", "10000"))
MEMORY_REQUESTS = 2_000_000
MEMORY_FROM_S = 120
CONNECTIONS = 32
LAG_LIMIT_MS = 5
SHARE_ANSWERED = 0.99
# Rates are tried this far apart, in the end.
PRECISION = 0.04
FIRST_RATE, HIGHEST_RATE = 50_000, 400_000
PACED_RATE, IDLE_RATE = 2_000, 100
CORES = sorted(os.sched_getaffinity(0))
GENERATOR, SERVER = CORES[0], CORES[-1]
PRIORITY = os.environ.get("PRIORITY", "nice -n -10" if os.geteuid() == 0 else "").split()
K6_SCRIPT = """
import http from 'k6/http';
export const options = {scenarios: {at: {executor: 'constant-arrival-rate', rate: 100000,
  timeUnit: '1s', duration: '%ds', preAllocatedVUs: %d, maxVUs: %d}}};
export default () => http.get('%s');
"""


def pinned(core, command):
    """The command on this core alone."""
    return [*PRIORITY, "taskset", "-c", str(core), *map(str, command)]


@contextlib.contextmanager
def server():
    """The URL of a bare server on its core."""
    command = pinned(SERVER, [os.environ["BARE_SERVER"], "0"])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip() + "/"
    finally:
        process.terminate()
        process.wait(30)


def run(core, command):
    """What a command prints, from its core."""
    ended = subprocess.run(pinned(core, command), capture_output=True, text=True,
                           env=common.environment(), check=False)
    return ended.returncode, ended.stdout, ended.stderr


def soak_command(url, out, *flags):
    return [common.alfred(), "soak", "--target", url, "--method", "GET", "--connections",
            CONNECTIONS, "--threshold", f"p95<{LAG_LIMIT_MS * 10}ms", "--out", out, *flags]


def soak(work, url, *flags):
    """The verdict of one run."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="rate-", dir=work))
    code, _, error = run(GENERATOR, soak_command(url, folder / "run", *flags))
    if not (folder / "run/verdict.json").exists():
        common.fail(f"alfred soak ended with {code}: {error[-400:]}", "see above")
    verdict = json.loads((folder / "run/verdict.json").read_text())
    shutil.rmtree(folder)
    return verdict


def holds(work, url, rate):
    """Whether alfred holds this rate, and what it says of it."""
    verdict = soak(work, url, "--qps", rate, "--duration", f"{SECONDS}s", "--window", "1s")
    counts, lag_ms = verdict["counts"], verdict["lag_ms"]["p99"]
    held = lag_ms <= LAG_LIMIT_MS and counts["ok"] >= SHARE_ANSWERED * counts["due"]
    print(f"  {rate:>7}/s: {counts['ok'] / counts['due']:.2%} answered, p99 of lag {lag_ms:.2f} ms, "
          f"{verdict['generator']['cpu_cores']:.2f} cores: {'held' if held else 'not held'}",
          flush=True)
    return held


def alfred(work, url, guess):
    """The highest rate that is held: up or down from `guess` by a quarter, then between. One miss may be
    the machine's: a rate is tried twice."""
    def tried(rate):
        return holds(work, url, rate) or holds(work, url, rate)

    low, high = 0, HIGHEST_RATE
    rate = guess
    while low == 0 or high == HIGHEST_RATE:
        if tried(rate):
            low, rate = rate, int(rate * 1.25)
        else:
            high, rate = rate, int(rate / 1.25)
        if low and high != HIGHEST_RATE or rate > HIGHEST_RATE or rate < 1_000:
            break
    while high - low > PRECISION * high:
        middle = (low + high) // 2
        low, high = (middle, high) if tried(middle) else (low, middle)
    return low


def oha(url):
    _, text, error = run(GENERATOR, [os.environ["OHA"], "-c", CONNECTIONS, "-z", f"{2 * SECONDS}s",
                                     "--no-tui", "--output-format", "json", url])
    try:
        return json.loads(text)["summary"]["requestsPerSec"]
    except (ValueError, KeyError):
        return common.fail(f"oha says {text[-200:]}{error[-200:]}", "oha 1.16.0 was expected")


def wrk(url):
    _, text, _ = run(GENERATOR, ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{2 * SECONDS}s", url])
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))


def k6(work, url):
    """What k6 completes of far more arrivals than it can make, with as many users as connections."""
    script, summary = work / "k6.js", work / "k6.json"
    script.write_text(K6_SCRIPT % (2 * SECONDS, CONNECTIONS, CONNECTIONS, url))
    run(GENERATOR, [os.environ["K6"], "run", "--quiet", "--summary-export", summary, script])
    return json.loads(summary.read_text())["metrics"]["http_reqs"]["rate"]


def rates(work, url):
    rounds, guess = [], FIRST_RATE
    for number in range(ROUNDS):
        print(f"round {number + 1}", flush=True)
        guess = alfred(work, url, guess)
        rounds.append({"alfred": guess, "oha": oha(url), "wrk": wrk(url), "k6": k6(work, url)})
        print(f"  {rounds[-1]}", flush=True)
    median = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    ratio = {name: statistics.median(one["alfred"] / one[name] for one in rounds)
             for name in ("oha", "wrk", "k6")}
    common.table(("generator", "requests/s", "alfred's, ×"),
                 [(name, f"{median[name]:,.0f}", f"{ratio.get(name, 1):.2f}") for name in median])
    return {"rounds": rounds}, [("open loop, × oha's closed loop", ratio["oha"], ">=", 0.8),
                                ("open loop, × k6's arrival rate", ratio["k6"], ">=", 5)]


def gaps(url, short_ns):
    """Requests that came since the last call, and how many of them too soon after the one before."""
    with urllib.request.urlopen(f"{url}gaps/{short_ns}") as reply:
        return json.loads(reply.read())


def pace(work, url):
    """The median of rounds: a machine with other work on it delays anybody."""
    lags, shares = [], []
    for _ in range(ROUNDS):
        gaps(url, 10**8 // PACED_RATE)
        verdict = soak(work, url, "--qps", PACED_RATE, "--duration", "10s")
        came = gaps(url, 0)
        lags.append(verdict["lag_ms"]["p99"])
        shares.append(came["short"] / came["requests"])
    print(f"{PACED_RATE}/s: p99 of lag {lags} ms, gaps below a tenth of nominal {shares}")
    return {"lag_p99_ms": lags, "short_gaps": shares}, [
        (f"{PACED_RATE}/s: p99 of lag, ms", statistics.median(lags), "<", 0.5),
        (f"{PACED_RATE}/s: share of gaps below a tenth", statistics.median(shares), "<=", 0.05)]


def idle(work, url):
    cores = [soak(work, url, "--qps", IDLE_RATE, "--duration", "20s")["generator"]["cpu_cores"]
             for _ in range(ROUNDS)]
    print(f"{IDLE_RATE}/s: {cores} cores")
    return {"cores": cores}, [(f"{IDLE_RATE}/s: cores", statistics.median(cores), "<", 0.02)]


def memory(work, url):
    """Resident memory once a second, from minute 2 to the end."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="rate-", dir=work))
    command = soak_command(url, folder / "run", "--qps", MEMORY_RATE, "--count", MEMORY_REQUESTS)
    process = subprocess.Popen(pinned(GENERATOR, command), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env=common.environment())
    begun, seen_kib = time.monotonic(), []
    while process.poll() is None:
        with contextlib.suppress(OSError, KeyError):
            rss_kib = common.memory_kib(process.pid)["Rss"]
            seen_kib.append((time.monotonic() - begun, rss_kib))
        time.sleep(1)
    counts = json.loads((folder / "run/verdict.json").read_text())["counts"]
    lasting_s = MEMORY_REQUESTS / MEMORY_RATE
    late = [kib for at_s, kib in seen_kib if MEMORY_FROM_S <= at_s <= lasting_s]
    if not late or counts["due"] != MEMORY_REQUESTS:
        common.fail(f"{counts} in {lasting_s} s", "MEMORY_RATE must leave more than two minutes")
    growth_kib = late[-1] - late[0]
    print(f"{counts}; resident {late[0]} KiB at minute 2, {late[-1]} KiB at the end, "
          f"{max(kib for _, kib in seen_kib)} KiB at most")
    return {"counts": counts, "from_kib": late[0], "to_kib": late[-1]}, [
        ("2,000,000 requests: growth, KiB", growth_kib, "<", 1024)]


PARTS = {"rates": rates, "pace": pace, "idle": idle, "memory": memory}


def main():
    work = pathlib.Path(sys.argv[1])
    if len(CORES) < 2:
        common.fail("there is one core", "run it where there are two")
    figures, targets = {}, []
    with server() as url:
        for name in sys.argv[2:] or PARTS:
            print(f"\n== {name}", flush=True)
            figures[name], judged = PARTS[name](work, url)
            targets += judged
    common.finish("rate", figures, targets)


if __name__ == "__main__":
    main()
