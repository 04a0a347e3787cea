# Shared by the measuring scripts: the cache folder, venvs, packages. Sourced, never run.
# shellcheck shell=bash
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/alfred/bench
mkdir -p "$cache"
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"
unset POSTGRES_DSN OPENAI_API_KEY OPENAI_BASE_URL REDIS_URL TARGET_URL
export ALFRED=${ALFRED:-${CARGO_TARGET_DIR:-$root/target}/release/alfred}
export PYTHONPATH=$here

# help FILE: the comment at a script's head.
help() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$1"; }

# The program, and the model where none is named.
need_alfred() {
  [ -x "$ALFRED" ] || fail "$ALFRED is no program" "cargo build --release, or set ALFRED to the binary"
  if [ -z "${ALFRED__EMBEDDING__MODELS_DIR:-}" ]; then
    ALFRED__EMBEDDING__MODELS_DIR=$(dirname "$("$root/scripts/model")")
  fi
  export ALFRED__EMBEDDING__MODELS_DIR
}

# need_example VARIABLE NAME: the path of that built example in VARIABLE, exported; built unless it is set.
need_example() {
  if [ -z "${!1:-}" ]; then
    step "build $2"
    (cd "$root" && release_build --quiet --example "$2")
    printf -v "$1" '%s' "$(dirname "$ALFRED")/examples/$2"
  fi
  export "${1?}"
}

# venv NAME REQUIREMENT...: a venv of that name in the cache folder; its folder is in $venv.
venv() {
  venv=$cache/$1
  local mark="$venv/complete" wanted="${*:2}"
  [ -f "$mark" ] && [ "$(cat "$mark")" = "$wanted" ] && return
  need_packages python3:python3 python3-venv:-
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q "${@:2}"
  printf '%s' "$wanted" >"$mark"
}

# crate NAME VERSION: that program from its crate, built once in the cache folder; its folder is in $crate.
crate() {
  crate=$cache/$1-$2
  [ -x "$crate/bin/$1" ] && return
  step "build $1 $2"
  nice cargo install --quiet --locked --root "$crate" --version "$2" "$1"
}

# work_folder: BENCH_DIR when set (kept), else a temporary folder, removed at the end; in $work.
work_folder() {
  if [ -n "${BENCH_DIR:-}" ]; then
    work=$BENCH_DIR
    mkdir -p "$work"
  else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    export BENCH_DIR=$work
  fi
}
