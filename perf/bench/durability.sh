#!/usr/bin/env bash
# The order of the system calls of a stored document: what went to the write-ahead log is synced
# before the reply goes out on the socket. Traces a daemon while documents are posted, prints the
# order, and exits 1 when a reply precedes the sync of what it acknowledges.
#   perf/bench/durability.sh [DOCUMENTS]     default 5
# Needs strace and the right to trace one's own processes. Environment: ALFRED, BENCH_DIR.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
need_packages strace:strace
work_folder
python3 "$here/durability.py" "$work" "${1:-5}"
