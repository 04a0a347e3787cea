# Installs, upgrades, removes and purges the .deb in a folder, its scripts run from outside.
# shellcheck shell=bash
root=$work/system

in_root() {
  dpkg --root="$root" --force-not-root --force-depends --force-script-chrootless \
    --force-confdef --log="$work/dpkg.log" "$@"
}

new_root() {
  rm -rf "$root"
  mkdir -p "$root"/var/lib/dpkg/{info,updates,triggers} "$root"/{etc,run}
  touch "$root"/var/lib/dpkg/{status,available}
}

state_of() { dpkg-query --root="$root" -W -f '${Status}' alfred 2>/dev/null; }

deb_installs() {
  new_root
  in_root -i "$model_deb" "$deb"
  same 'install ok installed' "$(state_of)"
  grep -c '^alfred:' "$root/etc/passwd"
  grep -c '^alfred:' "$root/etc/group"
  [ "$(stat -c %a "$root/var/lib/alfred")" = 750 ]
  [ -L "$root/etc/systemd/system/multi-user.target.wants/alfred.service" ]
  [ -L "$root/etc/systemd/system/sockets.target.wants/alfred.socket" ]
  none grep -E 'soak@|ingest@' <(find "$root/etc/systemd")
  "$root/usr/bin/alfred" config check --config "$root/etc/alfred/alfred.toml"
  "$root/usr/bin/alfred" --version | grep -c '^alfred 0\.9\.0'
}

# The same package again with another revision: what dpkg does in an upgrade.
newer_deb() {
  dpkg-deb -R "$deb" "$work/newer"
  sed -i 's/^Version: .*/Version: 1:0.9.0-99/' "$work/newer/DEBIAN/control"
  echo '# a new default' >>"$work/newer/etc/alfred/soak.d/smoke.toml"
  dpkg-deb -Znone -b "$work/newer" "$work/newer.deb"
}

upgrade_keeps_what_was_edited() {
  newer_deb
  echo '# mine' >>"$root/etc/alfred/alfred.toml"
  echo kept >"$root/var/lib/alfred/state"
  in_root -i "$work/newer.deb"
  grep -c '^# mine' "$root/etc/alfred/alfred.toml"
  grep -c '^# a new default' "$root/etc/alfred/soak.d/smoke.toml"
  same kept "$(cat "$root/var/lib/alfred/state")"
}

removal_keeps_state_and_purge_clears_it() {
  in_root -r alfred
  [ ! -e "$root/usr/bin/alfred" ]
  same kept "$(cat "$root/var/lib/alfred/state")"
  grep -c '^# mine' "$root/etc/alfred/alfred.toml"
  in_root -P alfred
  [ ! -e "$root/var/lib/alfred" ]
  [ ! -e "$root/etc/alfred" ]
  none grep . <(find "$root/etc/systemd" "$root/var/lib/systemd" -name '*alfred*')
}

check 'the .deb installs: user, state, units enabled, timers not' deb_installs
check 'an upgrade keeps edited configuration and state' upgrade_keeps_what_was_edited
check 'removal keeps state, purge leaves nothing' removal_keeps_state_and_purge_clears_it
