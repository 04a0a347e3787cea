#!/usr/bin/env bash
# Measures the embedded store: insert rate, opening, recall, search by mode, memory.
# usage: perf/bench/store.sh [FOLDER]     (about 2.5 GB of room for the million)
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
folder=${1:-$(mktemp -d)}
release_build --example store_bench
bench=${CARGO_TARGET_DIR:-target}/release/examples/store_bench
for count in 100000 1000000; do
    echo "# $count vectors of 384 dimensions"
    "$bench" "$folder/store_bench" "$count" 384 1000
    rm -rf "$folder/store_bench"
done
