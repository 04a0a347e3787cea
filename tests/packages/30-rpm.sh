# What is in the .rpm, and what rpm says once it is installed in a folder.
# shellcheck shell=bash
rpm_root=$work/rpm-system

rpm_has_what_the_contract_names() {
  local files file
  files=$(rpm -qlp "$rpm")
  for file in $contract_files /usr/share/zsh/site-functions/_alfred \
    /usr/share/fish/vendor_completions.d/alfred.fish /usr/share/man/man5/alfred.toml.5.gz \
    /usr/share/man/man1/alfred.1.gz /usr/share/doc/alfred/third-party.txt; do
    grep -cx "$file" <<<"$files" || { echo "missing: $file"; return 1; }
  done
  for file in $verbs; do
    grep -cx "/usr/share/man/man1/alfred-$file.1.gz" <<<"$files" || { echo "no page: $file"; return 1; }
  done
}

rpm_says_who_it_is() {
  same '1:0.9.0' "$(rpm -qp --qf '%{EPOCH}:%{VERSION}' "$rpm")"
  local requires
  requires=$(rpm -qp --requires "$rpm")
  grep -c '^alfred-model-minilm' <<<"$requires"
  grep -c '^libc.so.6(GLIBC_2' <<<"$requires"
  grep -c '^libgcc_s.so.1' <<<"$requires"
  none grep -E 'GLIBC_2\.(3[6-9]|[4-9][0-9])' <<<"$requires"
  same noarch "$(rpm -qp --qf '%{ARCH}' "$model_rpm")"
}

rpm_configuration_is_noreplace() {
  # 17: configuration, and not to be replaced.
  same $'/etc/alfred/alfred.toml 17\n/etc/alfred/soak.d/nightly.toml 17\n/etc/alfred/soak.d/smoke.toml 17' \
    "$(rpm -qp --qf '[%{FILENAMES} %{FILEFLAGS}\n]' "$rpm" | grep '^/etc/.*\.toml' | sort)"
}

rpm_has_the_files_of_the_deb() {
  local of_deb of_rpm
  of_deb=$(dpkg-deb --fsys-tarfile "$deb" | tar -t | sed 's/^\.//' | grep -v '/$' |
    grep -Ev '/usr/share/(doc|lintian|zsh)/' | sort)
  of_rpm=$(rpm -qp --qf '[%{FILEMODES:perms} %{FILENAMES}\n]' "$rpm" | grep -v ^d | cut -d' ' -f2 |
    grep -Ev '/usr/share/(doc|licenses|zsh)/' | sort)
  same "$of_deb" "$of_rpm"
}

rpm_verifies_once_installed() {
  mkdir -p "$rpm_root"
  rpm --root "$rpm_root" --initdb
  rpm --force-debian --root "$rpm_root" --nodeps --noscripts -i "$model_rpm" "$rpm"
  same '' "$(rpm --force-debian --root "$rpm_root" --nodeps -V alfred alfred-model-minilm 2>&1)"
  echo '# mine' >>"$rpm_root/etc/alfred/alfred.toml"
  grep 'c /etc/alfred/alfred.toml' <(rpm --force-debian --root "$rpm_root" --nodeps -V alfred)
}

rpm_scripts_are_sound() {
  local script
  for script in POSTIN PREUN POSTUN; do
    rpm -qp --qf "%{$script}" "$rpm" >"$work/$script"
    sh -n "$work/$script"
    none grep '%systemd\|%{' "$work/$script"
  done
  grep -c try-restart "$work/POSTUN"
  none grep 'restart.*socket' "$work/POSTUN"
}

check 'the .rpm has every file that the contract names' rpm_has_what_the_contract_names
check 'the .rpm has its version and the libraries that it needs' rpm_says_who_it_is
check 'configuration is %config(noreplace)' rpm_configuration_is_noreplace
check 'the .rpm has the files of the .deb' rpm_has_the_files_of_the_deb
check 'rpm -V says nothing once installed, and sees an edit' rpm_verifies_once_installed
check 'the scriptlets are plain shell' rpm_scripts_are_sound
