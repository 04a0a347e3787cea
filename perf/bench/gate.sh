#!/usr/bin/env bash
# The release gate on the manual: perf/queryset.txt at 10 requests a second for 60 s, and the daemon's
# memory after it.
#   perf/bench/gate.sh
# Environment: ALFRED, QPS (10), DURATION (60s), QUERY_FILE, BENCH_DIR. Targets: p95 below 300 ms,
# errors below 1 %: the gate's own verdict.
set -euo pipefail
queries=${QUERY_FILE:-} qps=${QPS:-10} duration=${DURATION:-60s}
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
work_folder
(cd "$root" && "$ALFRED" --store "$work/manual-store" ingest 'docs/*.md' >"$work/ingest.log" 2>&1) ||
  fail "ingest failed: $(tail -3 "$work/ingest.log")" "alfred model verify"
python3 "$here/gate.py" "$work" "${queries:-$root/perf/queryset.txt}" "$qps" "$duration"
