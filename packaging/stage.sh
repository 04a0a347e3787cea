#!/usr/bin/env bash
# Lays out what is installed, for the .deb, the .rpm and installations from source alike:
#   packaging/stage.sh BINARY MODEL_FOLDER DIR
# makes DIR/alfred and DIR/alfred-model-minilm, each a tree as below /. Every file carries the time
# SOURCE_DATE_EPOCH. BINARY is laid out as it is, with its debug data.
set -euo pipefail
[ $# -eq 3 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
binary=$(realpath "$1") model=$(realpath "$2") dir=$3
cd "$(dirname "$0")/.."
umask 022
shopt -s nullglob
rm -rf "$dir"
mkdir -p "$dir"
dir=$(realpath "$dir")
root=$dir/alfred

# put TARGET_FOLDER FILE...: those that are there.
put() {
  local folder=$root/$1 file
  shift
  for file in "$@"; do
    [ ! -e "$file" ] || install -D -m 644 -t "$folder" "$file"
  done
}

install -D -m 755 "$binary" "$root/usr/bin/alfred"
put etc/alfred etc/alfred.toml
put etc/alfred/soak.d etc/soak.d/*.toml
install -d "$root/etc/alfred/conf.d" "$root/etc/alfred/ingest.d"

put usr/lib/systemd/system systemd/*.service systemd/*.socket systemd/*.timer
put usr/lib/systemd/catalog systemd/*.catalog
put usr/lib/sysusers.d systemd/sysusers.d/*.conf
put usr/lib/tmpfiles.d systemd/tmpfiles.d/*.conf
put usr/lib/systemd/system-preset systemd/system-preset/*.preset

put usr/share/alfred perf/queryset.txt perf/*.js perf/*.py
# With the sources that the manual has when it is ingested from where it is installed, besides.
sed 's|\tdocs/\([^\t]*\)|&\t\1|g' perf/relevance.tsv >"$root/usr/share/alfred/relevance.tsv"
for folder in compose helm grafana prometheus loki; do
  [ ! -d "packaging/$folder" ] || cp -rT "packaging/$folder" "$root/usr/share/alfred/$folder"
done
# Drop-ins to copy or to learn from.
put usr/share/doc/alfred/examples systemd/examples/*
put usr/share/doc/alfred/examples/ingest.d etc/ingest.d/*.toml
# The manual doubles as a corpus to begin with; images that leave out /usr/share/doc keep it there.
put usr/share/alfred/manual docs/*.md docs/*.png
put usr/share/doc/alfred README.md
for page in docs/*.md; do
  ln -s "../../alfred/manual/${page##*/}" "$root/usr/share/doc/alfred/${page##*/}"
done
python3 packaging/third-party.py >"$root/usr/share/doc/alfred/third-party.txt"
python3 packaging/sbom.py >"$root/usr/share/alfred/sbom.cdx.json"

generated=$dir/generated
date=$(date -u -d "@$SOURCE_DATE_EPOCH" +%F)
"$binary" generate man --date "$date" "$generated/man"
"$binary" generate completions "$generated/completions"
put usr/share/man/man1 "$generated"/man/*.1
put usr/share/man/man5 "$generated"/man/*.5
put usr/share/zsh/vendor-completions "$generated/completions/_alfred"
put usr/share/fish/vendor_completions.d "$generated/completions/alfred.fish"
install -D -m 644 "$generated/completions/alfred.bash" "$root/usr/share/bash-completion/completions/alfred"
rm -rf "$generated"

mkdir -p "$dir/alfred-model-minilm/usr/share/alfred/models"
cp -rT "$model" "$dir/alfred-model-minilm/usr/share/alfred/models/all-MiniLM-L6-v2"

find "$dir" -type d -exec chmod 755 {} +
find "$dir" -type f ! -path '*/usr/bin/*' -exec chmod 644 {} +
find "$dir" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
