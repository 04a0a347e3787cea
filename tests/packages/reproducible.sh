# Packs again, as scripts/package-test was told to: every package has to have the same bits.
# shellcheck shell=bash

same_bits() {
  scripts/package "$@" --output "$work/again"
  same "$(cat "$packages/SHA256SUMS")" "$(cat "$work/again/SHA256SUMS")"
}

check 'packed twice, every package has the same bits' same_bits "$@"
