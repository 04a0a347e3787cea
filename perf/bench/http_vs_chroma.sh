#!/usr/bin/env bash
# Requests a second over HTTP: alfred against Chroma on the same 100,000 × 384 vectors, in turn, on
# the same cores, with the same load generator (wrk, one thread) at 1, 8 and 32 connections.
#   perf/bench/http_vs_chroma.sh [MODEL_DIR]
# 2,000 different questions in turn, top 3 with texts, metadata and scores. Chroma gets the vector of
# a question, alfred the question with its embedding in the cache (mode "vector"), once with no
# answer and once with the extractive one. Both return the same passages: the recall of their first
# three is printed. Also compares the rates at which they take vectors in, both in batches of 5,000.
# MODEL_DIR: all-MiniLM-L6-v2 with model.onnx (that of scripts/model).
# Environment: ALFRED; STORE_FILL, the built example store_fill (else cargo builds it); VECTORS
# (100000); ROUNDS (3); SECONDS_EACH (5); BENCH_DIR, a folder to keep. Takes about five minutes. Targets: 6 × Chroma's peak with 8 connections, a lower p99 at each count of
# connections, 10 × its insert rate.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
model=$(realpath "${1:-$ALFRED__EMBEDDING__MODELS_DIR/all-MiniLM-L6-v2}")
[ -f "$model/model.onnx" ] || fail "$model has no model.onnx" "alfred model pull, or name the folder"
need_packages wrk:wrk
venv quality numpy onnxruntime tokenizers snowballstemmer
python=$venv/bin/python
venv chroma chromadb==1.5.9 numpy
count=${VECTORS:-100000}
data=$cache/vectors-$count
step "vectors"
"$python" "$here/peers/vectors.py" "$data" "$model" "$count"
need_example STORE_FILL store_fill
work_folder
step "fill alfred's store"
rm -rf "$work/http-store"
"$STORE_FILL" "$work/http-store" "$data/vectors.f32" | tee "$work/fill.json"
ALFRED__EMBEDDING__MODELS_DIR=$(dirname "$model") CHROMA=$venv/bin/chroma CHROMA_PYTHON=$venv/bin/python \
  "$python" "$here/http_vs_chroma.py" "$work" "$data"
