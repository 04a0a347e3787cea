#!/usr/bin/env bash
# Whether `alfred soak` and k6 say the same of a target that answers after a fixed 50 ms: p50 and p95 of
# both, in runs that take turns, each against a target of its own.
#   perf/bench/k6.sh
# k6 runs the two shipped scripts: perf/k6-arrival-rate.js at the rate of alfred's runs, and
# perf/k6-script.js, whose 25 users make their own rate. k6 is a Python package (scripts/k6).
# On a machine with other work, that work is what p95 measures; as root: chrt --rr 1 perf/bench/k6.sh
# Environment: ALFRED; K6, the program; ROUNDS (3); SECONDS_EACH (20); RATE (20); BENCH_DIR. Takes four
# minutes. Targets: each percentile within the greater of 5 % and 1 ms of alfred's, as medians of rounds.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
work_folder
K6=${K6:-$("$root/scripts/k6")} python3 "$here/k6.py" "$work"
