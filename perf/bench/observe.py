"""The measuring part of observe.sh, which see. usage: observe.py WORK [PART...]"""

import contextlib
import gzip
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import threading
import time

os.environ.setdefault("ROUNDS", "1")
import common
import wrk_load

PAIRS = int(os.environ.get("PAIRS", "7"))
PROFILE_S = int(os.environ.get("PROFILE_S", "30"))
RATE = int(os.environ.get("RATE", "500"))
CONNECTIONS = 8
# Of two daemons that take turns.
TURNS = 12
SCRAPES, SCRAPES_S, WARMUP_S = 1_000, 25, 2
QUERIES = common.ROOT / "perf/queryset.txt"
PARTS = ("recording", "sampling", "profile", "scrapes")


def recording():
    """CPU time of recording one query."""
    run = subprocess.run([os.environ["METRICS_BENCH"]], capture_output=True, text=True, check=True)
    figures = json.loads(run.stdout)
    return figures, [("metrics of one query, us", figures["us_per_query"], "<", 2)]


def fill(work):
    """A store with the manual in it, and a file with the bodies of queries."""
    store, bodies = common.manual_store(work), work / "bodies.txt"
    if not bodies.exists():
        lines = [line for line in QUERIES.read_text().splitlines() if line.strip()]
        bodies.write_text("".join(json.dumps({"query": line}) + "\n" for line in lines))
    return store, bodies


@contextlib.contextmanager
def daemon(work, name, extra=None):
    """A daemon on a copy of the store, every query of the file in its cache."""
    store, bodies = fill(work)
    own = work / name
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(store, own)
    with common.Daemon(own, work / f"{name}.log", extra) as one:
        for line in bodies.read_text().splitlines():
            one.request("POST", "/v1/query", json.loads(line))
        yield one


def run(one, work):
    """One run of wrk: requests/s, and CPU ms of the daemon for each."""
    figures = wrk_load.load(one.pid, f"http://127.0.0.1:{one.port}/v1/query", fill(work)[1], CONNECTIONS)
    return figures["per_s"], figures["server_cores"] / figures["per_s"] * 1e3


def in_turn(pairs, work_of):
    """Results of True and False, which comes first alternating: [(with, without)]."""
    found = []
    for number in range(pairs):
        order = (True, False) if number % 2 == 0 else (False, True)
        both = {choice: work_of(choice) for choice in order}
        found.append((both[True], both[False]))
    return found


def sampling(work):
    """What heap samples cost. Two daemons take turns, second by second, since the machine is not as fast in every
    minute; and there are several pairs of them, since where memory lies makes two daemons differ by some per cent."""
    wrk_load.SECONDS = 1
    ratios, rows = [], []
    for number in range(PAIRS):
        with daemon(work, "sampled") as sampled, daemon(work, "plain", {"MALLOC_CONF": "prof:false"}) as plain:
            if sampled.request("GET", "/debug/pprof/heap")[0] != 200:
                common.fail("no heap profile from the daemon as shipped", "see its log: set BENCH_DIR")
            if plain.request("GET", "/debug/pprof/heap")[0] == 200:
                common.fail("MALLOC_CONF=prof:false changes nothing", "has the build jemalloc under its plain name?")
            run(sampled, work), run(plain, work)
            found = in_turn(TURNS, lambda choice: run(sampled if choice else plain, work))
        cpu = statistics.median(a[1] / b[1] for a, b in found)
        rate = statistics.median(a[0] / b[0] for a, b in found)
        ratios.append((cpu, rate))
        rows.append((number + 1, f"{statistics.median(b[1] for _, b in found):.3f} ms", f"{cpu:.3f}", f"{rate:.3f}"))
    common.table(("daemons", "CPU of a query without", "with, times", "requests/s with, times"), rows)
    return ({"cpu": [cpu for cpu, _ in ratios], "rates": [rate for _, rate in ratios]},
            [("heap samples, x the CPU time without", statistics.median(cpu for cpu, _ in ratios), "<=", 1.02)])


def profile(work):
    """What a CPU profile costs while it is taken."""
    wrk_load.SECONDS = PROFILE_S
    with daemon(work, "profiled") as one:
        def measured(choice):
            if not choice:
                return run(one, work)
            answers = []
            taker = threading.Thread(target=lambda: answers.append(
                one.request("GET", f"/debug/pprof/profile?seconds={PROFILE_S}")))
            taker.start()
            result = run(one, work)
            taker.join()
            if answers[0][0] != 200 or len(gzip.decompress(answers[0][1])) < 1_000:
                common.fail(f"no profile: {answers[0][0]}", "see the daemon's log: set BENCH_DIR")
            return result
        found = in_turn(max(3, PAIRS // 2), measured)
    ratios = [a[0] / b[0] for a, b in found]
    return ({"ratios": ratios, "seconds": PROFILE_S},
            [(f"requests/s during a profile of {PROFILE_S} s, x without", statistics.median(ratios), ">=", 0.95)])


def scraper(one, times, stop):
    """Scrapes on a schedule until told to stop; notes what each took in ms."""
    connection = common.http.client.HTTPConnection("127.0.0.1", one.port, timeout=30)
    begin = time.monotonic()
    for number in range(SCRAPES):
        if stop.wait(max(0, begin + number * SCRAPES_S / SCRAPES - time.monotonic())):
            return
        start = time.monotonic()
        status, _ = common.exchange(connection, "GET", "/metrics")
        if status == 200:
            times.append((time.monotonic() - start) * 1e3)


def p99(one, work, name):
    """p99 in ms of a soak at RATE."""
    verdict = common.soak_whole(
        work / name, "--target", f"http://127.0.0.1:{one.port}/v1/query", "--queries", QUERIES, "--qps", str(RATE),
        "--duration", f"{SCRAPES_S}s", "--window", "1s", "--warmup", f"{WARMUP_S}s")
    return verdict["response_ms"]["p99"]


def scrapes(work):
    """What scrapes cost the queries beside them."""
    times = []
    with daemon(work, "scraped") as one:
        def measured(choice):
            measured.number += 1
            if not choice:
                return p99(one, work, f"run-{measured.number}")
            stop, mine = threading.Event(), []
            thread = threading.Thread(target=scraper, args=(one, mine, stop))
            thread.start()
            result = p99(one, work, f"run-{measured.number}")
            thread.join(SCRAPES_S)
            stop.set()
            thread.join()
            if len(mine) < SCRAPES * 0.98:
                common.fail(f"only {len(mine)} of {SCRAPES} scrapes were answered", "lower RATE")
            times.extend(mine)
            return result
        measured.number = 0
        found = in_turn(max(3, PAIRS // 2), measured)
    differences = [a - b for a, b in found]
    common.table(("pair", "p99 ms with", "without"), [(at + 1, f"{a:.3f}", f"{b:.3f}") for at, (a, b) in enumerate(found)])
    return ({"differences_ms": differences, "scrape_ms": statistics.median(times)},
            [("p99 with scrapes, ms more than without", statistics.median(differences), "<=", 1),
             ("a scrape, ms", statistics.median(times), "<", 2)])


def main():
    work = pathlib.Path(sys.argv[1])
    wanted = sys.argv[2:] or PARTS
    if unknown := set(wanted) - set(PARTS):
        common.fail(f"no such part: {', '.join(unknown)}", f"one of {', '.join(PARTS)}")
    figures, targets = {}, []
    for part in wanted:
        print(f"\n== {part}", flush=True)
        call = globals()[part]
        figures[part], judged = call() if part == "recording" else call(work)
        targets += judged
    common.finish("observe", figures, targets)


if __name__ == "__main__":
    main()
