# What is in the .deb, and what Debian's checker says of it.
# shellcheck shell=bash

lintian_is_silent() { same '' "$(lintian --allow-root --profile debian --tag-display-limit 0 "$packages"/*.deb 2>&1)"; }

deb_has_what_the_contract_names() {
  local files file
  files=$(dpkg-deb --fsys-tarfile "$deb" | tar -t | sed 's/^\.//')
  for file in $contract_files /usr/share/zsh/vendor-completions/_alfred \
    /usr/share/fish/vendor_completions.d/alfred.fish /usr/share/man/man5/alfred.toml.5.gz \
    /usr/share/man/man1/alfred.1.gz /usr/share/doc/alfred/copyright /usr/share/doc/alfred/changelog.gz \
    /usr/share/doc/alfred/third-party.txt.gz; do
    grep -cx "$file" <<<"$files" || { echo "missing: $file"; return 1; }
  done
  for file in $verbs; do
    grep -cx "/usr/share/man/man1/alfred-$file.1.gz" <<<"$files" || { echo "no page: $file"; return 1; }
  done
  none grep '^/lib/' <<<"$files"
}

deb_says_who_it_is() {
  same '1:0.9.0' "$(dpkg-deb -f "$deb" Version | sed 's/-[0-9]*$//')"
  dpkg-deb -f "$deb" Depends | grep -c 'alfred-model-minilm'
  dpkg-deb -f "$deb" Depends | grep -Ec 'libc6 \(>= 2\.(2[0-9]|3[0-5])\)'
  dpkg-deb -f "$deb" Suggests | grep -c 'postgresql-17-pgvector | postgresql-pgvector'
  same all "$(dpkg-deb -f "$model_deb" Architecture)"
}

deb_conffiles_are_the_configuration() {
  same $'/etc/alfred/alfred.toml\n/etc/alfred/soak.d/nightly.toml\n/etc/alfred/soak.d/smoke.toml' \
    "$(dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./conffiles | sort)"
}

deb_scripts_do_what_is_said() {
  local scripts=$work/scripts
  mkdir -p "$scripts"
  dpkg-deb -e "$deb" "$scripts"
  grep -c "systemd-sysusers.*alfred.conf" "$scripts/postinst"
  grep -c "deb-systemd-helper enable 'alfred.service'" "$scripts/postinst"
  grep -c "deb-systemd-helper enable 'alfred.socket'" "$scripts/postinst"
  # No template is enabled or started, and the socket is never stopped or restarted by an upgrade.
  none grep -E "(enable|start|restart) .*alfred-(soak|ingest)@" "$scripts/postinst" "$scripts/preinst"
  none grep -E "restart.*alfred\.socket" "$scripts"/*inst
  none grep -E "stop.*alfred" "$scripts/preinst"
  for script in preinst postinst prerm postrm; do sh -n "$scripts/$script"; done
}

debug_data_is_apart() {
  local debug
  debug=$(compgen -G "$packages/alfred-dbgsym_*.deb") || { echo 'no alfred-dbgsym'; return 1; }
  dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/bin/alfred >"$work/alfred"
  none grep -c '\.debug_line' <(readelf -S "$work/alfred")
  local id
  id=$(readelf -n "$work/alfred" | sed -n 's/.*Build ID: //p')
  dpkg-deb --fsys-tarfile "$debug" | tar -t | grep -c "${id:0:2}/${id:2}.debug"
}

binary_knows_nothing_of_where_it_was_built() {
  dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/bin/alfred >"$work/alfred"
  none grep -aoE "($PWD|${CARGO_HOME:-$HOME/.cargo}|$(rustc --print sysroot))/[a-zA-Z0-9/._-]{3,60}" "$work/alfred"
}

check 'lintian says nothing' lintian_is_silent
check 'the .deb has every file that the contract names' deb_has_what_the_contract_names
check 'the .deb has its version, dependencies and suggestions' deb_says_who_it_is
check 'the conffiles are the configuration and the scenarios' deb_conffiles_are_the_configuration
check 'the maintainer scripts enable, and leave the socket alone' deb_scripts_do_what_is_said
check 'debug data is in a package of its own' debug_data_is_apart
check 'the binary holds no path of the machine that built it' binary_knows_nothing_of_where_it_was_built
