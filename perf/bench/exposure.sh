#!/usr/bin/env bash
# How much systemd lets each unit do, as "systemd-analyze security --offline" counts it (0: nothing,
# 10: everything): alfred's units beside those of well-known daemons, taken from Debian 13's packages,
# which are downloaded and not installed. Needs root and scripts/system-test's plain Debian.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

# PACKAGE:UNIT
peers="valkey-server:valkey-server.service redis-server:redis-server.service caddy:caddy.service
nginx-common:nginx.service postgresql-common:postgresql@.service prometheus:prometheus.service
prometheus-node-exporter:prometheus-node-exporter.service systemd-resolved:systemd-resolved.service
unbound:unbound.service haproxy:haproxy.service memcached:memcached.service mosquitto:mosquitto.service
openssh-server:ssh.service"
limit=1.1 limit_confined=0.4

need_packages systemd-analyze:systemd
root=$(tests/system/root trixie)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/cache/archives/partial" "$work/units" "$work/down"

# exposure FILE: the score of a unit file with the drop-ins beside it.
exposure() { systemd-analyze security --offline=yes "$1" 2>/dev/null | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p'; }
row() { printf '%-5s %s\n' "$1" "$2" | tee -a "$work/table"; }

cp systemd/*.service "$work/units/"
own=$(exposure "$work/units/alfred.service")
row "$own" "alfred.service"
mkdir "$work/units/alfred.service.d"
cp systemd/examples/confined.conf "$work/units/alfred.service.d/"
confined=$(exposure "$work/units/alfred.service")
row "$confined" "alfred.service with confined.conf"
cp systemd/examples/ip-allow.conf "$work/units/alfred.service.d/confined.conf"
row "$(exposure "$work/units/alfred.service")" "alfred.service with ip-allow.conf"
row "$(exposure "$work/units/alfred-soak@.service")" "alfred-soak@.service"
row "$(exposure "$work/units/alfred-ingest@.service")" "alfred-ingest@.service"

for peer in $peers; do
  package=${peer%%:*} unit=${peer#*:}
  (cd "$work/down" && apt-get -qq -o Dir="$root" -o Dir::Cache="$work/cache" -o Dir::Etc::Parts=/dev/null \
    -o APT::Sandbox::User=root -o Debug::NoLocking=1 download "$package") >/dev/null 2>&1 || { row - "$unit: not downloaded"; continue; }
  rm -rf "$work/peer" && dpkg-deb -x "$work"/down/"$package"_*.deb "$work/peer"
  file=$(find "$work/peer" -name "$unit" -path '*systemd/system/*' -type f | head -1)
  score=${file:+$(exposure "$file")}
  row "${score:--}" "$unit ($(dpkg-deb -f "$work"/down/"$package"_*.deb Version))"
done
awk -v own="$own" -v confined="$confined" -v limit="$limit" -v limit_confined="$limit_confined" \
  'BEGIN { exit !(own + 0 <= limit && confined + 0 <= limit_confined) }' ||
  fail "exposure $own and confined $confined, the limits are $limit and $limit_confined" "look at: systemd-analyze security --offline=yes systemd/alfred.service"
