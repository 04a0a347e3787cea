#!/usr/bin/env bash
# What the flight recorder of a soak costs the target: p99 of windows in which evidence is taken and of those in
# which none is, in one run against a daemon that answers questions from the manual, each of them new and so embedded.
# A threshold that every window crosses makes it take evidence for more than half of the time, most of it a CPU
# profile: a hundred times as often as it would in a run.
#   perf/bench/recorder.sh [RUNS]     default 3
# Environment: ALFRED; RATE (40); SECONDS_EACH (240); BENCH_DIR. Takes four minutes a run.
# Target: the median over the runs of the ratio of p99, itself a median over windows of 1 s, is below 1.05.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
work_folder
python3 "$here/recorder.py" "$work" "${1:-3}"
