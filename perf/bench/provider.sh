#!/usr/bin/env bash
# What a provider of embeddings costs a daemon: 200 queries a second of which half repeat an earlier
# one, against a stand-in for OpenAI that takes 100 ms a call.
#   perf/bench/provider.sh
# A few hundred short documents, then 30 s of `alfred soak` with Poisson arrivals; before it 5 s of
# other queries, which are not counted. Calls are those that the stand-in counted.
# Environment: ALFRED; STANDIN, the built example openai_standin (else cargo builds it); QPS (200);
# SECONDS_EACH (30); LATENCY_MS (100); BENCH_DIR. Takes a minute. Targets: no more calls than there
# are different queries; p95 at most the latency of the provider and 15 ms; no errors.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
need_example STANDIN openai_standin
work_folder
python3 "$here/provider.py" "$work"
