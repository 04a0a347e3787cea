#!/usr/bin/env bash
# Targets limited to known rates: whether `alfred soak --find-capacity` finds them. One takes a request
# after the other (a queue that grows without end beyond its rate), one answers 503 beyond its rate.
#   perf/bench/capacity.sh [REPEATS]
# Each of them is searched REPEATS times (3), in steps of STEP (2s). Environment: ALFRED, BENCH_DIR, STEP.
# Takes about a minute a search. Target: every rate found within 5 %.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
work_folder
python3 "$here/capacity.py" "$work" "${1:-3}" "${STEP:-2s}"
