#!/usr/bin/env bash
# What it costs to watch the daemon, on the embedded store with the manual in it and queries from the cache:
#   recording  the CPU time of all metrics of one query (the example metrics_bench)
#   sampling   requests/s and CPU time of a request with heap samples (as shipped) and without
#              (MALLOC_CONF=prof:false), two daemons in turn second by second, PAIRS times
#   profile    requests/s while a CPU profile is taken and without, in turn
#   scrapes    p99 at 500 requests/s with 1,000 scrapes of /metrics in 25 s and without, in turn; the
#              time of a scrape
#   perf/bench/observe.sh [PART...]
# 8 connections, wrk. Environment: ALFRED; METRICS_BENCH, the built example (else cargo builds it); PAIRS
# (7); SECONDS_EACH (5); PROFILE_S (30); RATE (500); BENCH_DIR. Takes 15 minutes.
# Targets: below 2 µs a query; heap samples cost at most 2 % of the CPU time; a profile at most 5 % of the
# requests/s; with scrapes no more than 1 ms of p99, and a scrape below 2 ms.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
need_packages wrk:wrk
need_example METRICS_BENCH metrics_bench
work_folder
python3 "$here/observe.py" "$work" "$@"
