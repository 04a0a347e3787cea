#!/usr/bin/env bash
# What the flight recorder of a soak costs the target: p99 with takings and without, in turn, against a
# server that answers at once. A threshold that every window crosses makes it take evidence every 10 s, 5 s
# of it a CPU profile: thirty times as often as it would in a run.
#   perf/bench/recorder.sh [PAIRS]     default 5
# The server is the example http_bench: alfred's HTTP side with an instant answer behind it, with /proc, and
# profiles where the build has /debug/pprof/. Environment: ALFRED; HTTP_BENCH, the built example (else cargo
# builds it); RATE (500); SECONDS_EACH (30); BENCH_DIR. Takes a minute a pair.
# Target: the median of the ratios of p99 is below 1.05.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
if [ -z "${HTTP_BENCH:-}" ]; then
  step "build http_bench"
  (cd "$root" && release_build --quiet --example http_bench)
  HTTP_BENCH=$(dirname "$ALFRED")/examples/http_bench
fi
work_folder
HTTP_BENCH=$HTTP_BENCH python3 "$here/recorder.py" "$work" "${1:-5}"
