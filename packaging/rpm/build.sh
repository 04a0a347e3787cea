#!/usr/bin/env bash
# Makes the .rpm files from what packaging/stage.sh laid out:
#   packaging/rpm/build.sh STAGED VERSION RELEASE OUTPUT
set -euo pipefail
staged=$(realpath "$1") version=$2 release=$3 output=$(realpath "$4")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/tree
cp -a "$staged/alfred/." "$root"
cp -a "$staged/alfred-model-minilm/." "$root"

# The binary without its debug data but with names of functions, for profiles, and the data where debuggers look.
debug=$root/usr/lib/debug/usr/bin/alfred.debug
mkdir -p "${debug%/*}"
objcopy --only-keep-debug --compress-debug-sections "$root/usr/bin/alfred" "$debug"
chmod 644 "$debug"
(cd "${debug%/*}" && strip --strip-debug --remove-section=.comment "$root/usr/bin/alfred" &&
  objcopy --add-gnu-debuglink=alfred.debug "$root/usr/bin/alfred")

# Fedora's places, where they are others than Debian's.
mkdir -p "$root/usr/share/zsh/site-functions"
mv "$root/usr/share/zsh/vendor-completions/_alfred" "$root/usr/share/zsh/site-functions/"
rmdir "$root/usr/share/zsh/vendor-completions"
install -D -m 644 -t "$root/usr/share/licenses/alfred" LICENSE LICENSE-MIT LICENSE-APACHE
install -m 644 -t "$root/usr/share/doc/alfred" CHANGELOG.md
find "$root/usr/share/man" -name '*.[15]' -exec gzip -9n {} +
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

# What the package owns: its files, and the folders that no other package has.
{
  cd "$root"
  find etc/alfred usr/share/alfred usr/share/doc/alfred usr/share/licenses/alfred -type d ! -path '*/models*' -printf '%%dir /%p\n'
  find etc -type f -printf '%%config(noreplace) /%p\n'
  find usr/share/licenses -type f -printf '%%license /%p\n'
  find usr/share/doc \( -type f -o -type l \) -printf '%%doc /%p\n'
  find usr \( -path usr/lib/debug -o -path usr/share/doc -o -path usr/share/licenses -o -path '*/models' \) -prune \
    -o \( -type f -o -type l \) -printf '/%p\n'
} | LC_ALL=C sort >"$work/files"

rpmbuild --quiet -bb "$here/alfred.spec" --buildroot "$work/buildroot" \
  --define "_topdir $work/rpm" --define "_rpmdir $output" --define '_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
  --define "staged $root" --define "filelist $work/files" \
  --define "rpm_version $version" --define "rpm_release $release" \
  --define '_buildhost localhost' --define 'use_source_date_epoch_as_buildtime 1' \
  --define 'clamp_mtime_to_source_date_epoch 1' --define '_binary_payload w12.zstdio'
