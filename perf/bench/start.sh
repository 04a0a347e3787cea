#!/usr/bin/env bash
# Time from the start of the process to the first 200 from /readyz, memory when idle, size of the
# binary. The store holds the manual (docs/*.md); the model is in the page cache.
#   perf/bench/start.sh [RUNS]     default 10
# Environment: ALFRED, BENCH_DIR. Target: median below 300 ms.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
need_packages strip:binutils
work_folder
(cd "$root" && "$ALFRED" --store "$work/manual-store" ingest 'docs/*.md' >"$work/ingest.log" 2>&1) ||
  fail "ingest failed: $(tail -3 "$work/ingest.log")" "alfred model verify"
python3 "$here/start.py" "$work" "${1:-10}"
