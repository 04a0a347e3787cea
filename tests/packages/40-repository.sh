# The repository: signatures, by-hash, and that apt picks our alfred, not Debian's.
# shellcheck shell=bash
repository=$work/repository
apt_root=$work/apt

repository_is_made_and_signed() {
  scripts/apt-repo "$repository" --packages "$packages" --key "$work/key.asc"
  [ "$(stat -c %a "$work/key.asc")" = 600 ]
  local dist=$repository/deb/dists/stable
  export GNUPGHOME=$work/gpg
  mkdir -p -m 700 "$GNUPGHOME"
  gpg --batch --quiet --import "$repository/alfred.asc"
  gpg --batch --verify "$dist/InRelease"
  gpg --batch --verify "$dist/Release.gpg" "$dist/Release"
  gpg --batch --verify "$repository/rpm/repodata/repomd.xml.asc" "$repository/rpm/repodata/repomd.xml"
  gpg --batch --with-colons --list-keys | grep -c '^pub:[^:]*:255:22:'
  none grep -rI 'PRIVATE KEY' "$repository"
  same yes "$(sed -n 's/^Acquire-By-Hash: //p' "$dist/Release")"
  local hash
  hash=$(sha256sum <"$dist/main/binary-$architecture/Packages.xz" | cut -d' ' -f1)
  [ -e "$dist/main/binary-$architecture/by-hash/SHA256/$hash" ]
}

# An APT of its own: nothing installed but what alfred depends on, and two repositories: ours, and
# one with the program of the same name that Debian 13 has.
make_apt() {
  local other=$work/other
  mkdir -p "$other/package/DEBIAN" "$apt_root"/{lists/partial,cache/archives/partial,sources,preferences}
  printf 'Package: alfred\nVersion: 2025.0-2\nArchitecture: %s\nMaintainer: x <x@x>\nDescription: Almighty Lightweight Fact Remote Exchange Daemon\n' \
    "$architecture" >"$other/package/DEBIAN/control"
  dpkg-deb -b "$other/package" "$other/alfred_2025.0-2_$architecture.deb" >/dev/null
  (cd "$other" && apt-ftparchive packages . >Packages &&
    apt-ftparchive -o APT::FTPArchive::Release::Origin=Debian -o APT::FTPArchive::Release::Suite=stable release . >Release)
  printf 'deb [trusted=yes] file:%s ./\n' "$other" >"$apt_root/sources/other.list"
  cp "$repository/alfred.sources" "$apt_root/sources/"
  local package
  for package in libc6=2.36 libgcc-s1=12.2 ca-certificates=20230311 systemd=252; do
    printf 'Package: %s\nStatus: install ok installed\nMaintainer: x <x@x>\nArchitecture: %s\nMulti-Arch: same\nVersion: %s\nDescription: x\n\n' \
      "${package%%=*}" "$architecture" "${package#*=}"
  done >"$apt_root/status"
}

own_apt() {
  local tool=$1
  shift
  "$tool" -o Dir::State="$apt_root" -o Dir::State::status="$apt_root/status" -o Dir::State::lists="$apt_root/lists" \
    -o Dir::Cache="$apt_root/cache" -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$apt_root/sources" \
    -o Dir::Etc::preferencesparts="$apt_root/preferences" -o Dir::Etc::preferences=/dev/null \
    -o APT::Sandbox::User=root -o Debug::NoLocking=true "$@"
}

apt_picks_ours() {
  make_apt
  own_apt apt-get update
  own_apt apt-cache policy alfred | tee /dev/stderr | grep -c '2025\.0-2'
  own_apt apt-get --simulate --no-install-recommends install alfred | tee /dev/stderr |
    grep -c '^Inst alfred (1:0\.9\.0-[0-9]* alfred:'
  own_apt apt-get --simulate install alfred | grep -c '^Inst alfred-model-minilm'
}

apt_refuses_what_was_changed() {
  cp -r "$repository" "$work/changed"
  sed -i 's/^Description: retrieval/Description: Retrieval/' "$work/changed/deb/dists/stable/main/binary-$architecture/Packages"
  rm "$work"/changed/deb/dists/stable/main/binary-*/Packages.{gz,xz}
  rm -r "$work"/changed/deb/dists/stable/main/binary-*/by-hash
  mv "$apt_root/sources/alfred.sources" "$work/"
  sed "s|^URIs: .*|URIs: file:$work/changed/deb|" "$work/alfred.sources" >"$apt_root/sources/changed.sources"
  none own_apt apt-get update -o APT::Get::Update::Error-Mode=any
  rm "$apt_root/sources/changed.sources"
  mv "$work/alfred.sources" "$apt_root/sources/"
}

# A site that prefers its distribution above all would get the other program; the pin says otherwise.
pin_wins_over_a_preferred_distribution() {
  own_apt apt-get update
  printf 'Package: *\nPin: release o=Debian\nPin-Priority: 990\n' >"$apt_root/preferences/site.pref"
  own_apt apt-get --simulate install alfred | grep -c '^Inst alfred (2025'
  cp "$repository/alfred.pref" "$apt_root/preferences/"
  own_apt apt-get --simulate install alfred | grep -c '^Inst alfred (1:0\.9\.0'
}

older_versions_stay() {
  mkdir -p "$work/second"
  dpkg-deb -R "$model_deb" "$work/second-model"
  sed -i 's/^Version: .*/Version: 1:0.9.0-99/' "$work/second-model/DEBIAN/control"
  dpkg-deb -Znone -b "$work/second-model" "$work/second/alfred-model-minilm_0.9.0-99_all.deb"
  scripts/apt-repo "$repository" --packages "$work/second" --key "$work/key.asc"
  same 2 "$(grep -c '^Package: alfred-model-minilm$' "$repository/deb/dists/stable/main/binary-$architecture/Packages")"
}

check 'the repository is signed with an ed25519 key, and has by-hash' repository_is_made_and_signed
check 'apt install alfred picks ours beside alfred 2025.0-2' apt_picks_ours
check 'apt refuses an index that was changed' apt_refuses_what_was_changed
check 'the pin wins where a site prefers its distribution' pin_wins_over_a_preferred_distribution
check 'a second version leaves the first in the repository' older_versions_stay
