#!/usr/bin/env bash
# The store in PostgreSQL with pgvector, 100,000 × 384, measured in one run on one server: requests a
# second against pgbench with the same SQL and index and against the service that teams write
# themselves (FastAPI, psycopg 3 pool, pgvector), bulk load against psql's own binary COPY of the same
# rows, recall, size of the index, filters.
#   perf/bench/postgres.sh [MODEL_DIR]
# 2,000 different questions in turn, top 3, mode "vector", embeddings cached.
# MODEL_DIR: all-MiniLM-L6-v2 with model.onnx (that of scripts/model).
# Environment: ALFRED; STORE_FILL, the built example store_fill (else cargo builds it); VECTORS
# (100000); ROUNDS (5); SECONDS_EACH (5); BENCH_DIR, a folder to keep. Takes about twelve minutes.
# Targets: 0.85 × pgbench with the same SQL at 8 connections (the median of the rounds' ratios), 1.5 × the
# other service with a lower p99 at 1, 8 and 32, 0.8 × psql's COPY, recall@10 0.95, halfvec within 0.01 of
# it at half the size of the index, 10 of 10 with a filter that 1 % of the rows pass.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
model=$(realpath "${1:-$ALFRED__EMBEDDING__MODELS_DIR/all-MiniLM-L6-v2}")
[ -f "$model/model.onnx" ] || fail "$model has no model.onnx" "alfred model pull, or name the folder"
need_packages wrk:wrk
venv quality numpy onnxruntime tokenizers snowballstemmer
count=${VECTORS:-100000}
data=$cache/vectors-$count
step "vectors"
"$venv/bin/python" "$here/peers/vectors.py" "$data" "$model" "$count"
venv fastapi fastapi uvicorn 'psycopg[binary,pool]' pgvector numpy
python=$venv/bin/python
need_example STORE_FILL store_fill
work_folder
export ROUNDS=${ROUNDS:-5}
PG_BIN=$("$root/scripts/postgres")
export PG_BIN
step "fill an embedded store to copy from"
rm -rf "$work/pg-source"
"$STORE_FILL" "$work/pg-source" "$data/vectors.f32" >/dev/null
ALFRED__EMBEDDING__MODELS_DIR=$(dirname "$model") "$python" "$here/postgres.py" "$work" "$data"
