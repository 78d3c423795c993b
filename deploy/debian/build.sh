#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes libmallard0, libmallard-dev and mallard out of an install tree:
#
#     build.sh TREE OUTPUT
#
# TREE is what `make install DESTDIR=TREE` left with Debian's folders; files move out of it, and one
# that no package takes is an error. The lists NAME.files say which package has what; control, symbols,
# triggers, conffiles, maintainer scripts and lintian's overrides lie beside them. Dependencies come from dpkg-shlibdeps.
# Two runs over the same tree give the same packages: times are those of the changelog.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tree=$(cd "$1" && pwd)
mkdir -p "$2"
output=$(cd "$2" && pwd)
packages="libmallard0 libmallard-dev mallard"
version=$(dpkg-parsechangelog -l "$here/changelog" -S Version)
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l "$here/changelog" -S Timestamp)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# The tools of dpkg-dev look for debian/control in the folder they run in.
mkdir "$work/debian"
cp "$here/control" "$here/changelog" "$work/debian/"
cd "$work"

take_files() {
    package=$1
    while read -r pattern; do
        for path in "$tree"/$pattern; do
            [ -e "$path" ] || [ -L "$path" ] || continue
            to=$work/$package${path#"$tree"}
            mkdir -p "${to%/*}"
            mv "$path" "$to"
        done
    done <"$here/$package.files"
}

strip_binaries() {
    find "$1" -type f \( -path '*/bin/*' -o -path '*/sbin/*' -o -name 'lib*.so*' \) \
        -exec strip --strip-unneeded -R .comment -R .note {} +
    find "$1" -type f -name 'lib*.a' -exec strip --strip-debug -R .comment --enable-deterministic-archives {} +
    find "$1" -type f -name 'lib*.so*' -exec chmod 644 {} +
}

add_documents() {
    folder=$work/$1/usr/share/doc/$1
    mkdir -p "$folder"
    cp "$here/copyright" "$folder/copyright"
    gzip -9nc "$here/changelog" >"$folder/changelog.gz"
    if [ -e "$here/$1.lintian-overrides" ]; then
        install -D -m 644 "$here/$1.lintian-overrides" "$work/$1/usr/share/lintian/overrides/$1"
    fi
    if [ -d "$work/$1/usr/share/man" ]; then
        find "$work/$1/usr/share/man" -type f ! -name '*.gz' -exec gzip -9n {} +
    fi
}

add_control_files() {
    package=$1
    for name in triggers conffiles; do
        [ ! -e "$here/$package.$name" ] || cp "$here/$package.$name" "$work/$package/DEBIAN/$name"
    done
    for name in preinst postinst prerm postrm; do
        [ ! -e "$here/$package.$name" ] || install -m 755 "$here/$package.$name" "$work/$package/DEBIAN/$name"
    done
    (cd "$work/$package" && find . -path ./DEBIAN -prune -o -type f ! -path './etc/*' -printf '%P\0' |
        LC_ALL=C sort -z | xargs -0 md5sum) >"$work/$package/DEBIAN/md5sums"
}

# What the library exports is a promise: a symbol of the list that is gone ends the build.
add_library_names() {
    for name in libmallard libmallard-gc libmallard-bdwgc; do
        echo "$name 0 libmallard0 (>= $version)"
    done >"$work/libmallard0/DEBIAN/shlibs"
    dpkg-gensymbols -q -c1 -plibmallard0 -v"$version" -P"$work/libmallard0" \
        -I"$here/libmallard0.symbols" -O"$work/libmallard0/DEBIAN/symbols"
}

find_dependencies() {
    package=$1
    : >"$work/debian/$package.substvars"
    binaries=$(find "$work/$package" -type f \( -path '*/bin/*' -o -path '*/sbin/*' -o -name 'lib*.so*' \))
    # shellcheck disable=SC2086 # paths of our own, without blanks
    [ -z "$binaries" ] || dpkg-shlibdeps -S"$work/libmallard0" -T"$work/debian/$package.substvars" $binaries
}

pack() {
    package=$1
    dpkg-gencontrol -p"$package" -P"$work/$package" -T"$work/debian/$package.substvars" \
        -f"$work/debian/files"
    find "$work/$package" -type d -exec chmod 755 {} +
    dpkg-deb --root-owner-group --build "$work/$package" "$output" >/dev/null
}

for package in $packages; do
    mkdir -p "$work/$package/DEBIAN"
    take_files "$package"
    strip_binaries "$work/$package"
    add_documents "$package"
    add_control_files "$package"
done
left=$(find "$tree" ! -type d)
[ -z "$left" ] || { echo "no package takes $left" >&2; exit 1; }
add_library_names
for package in $packages; do
    find_dependencies "$package"
    pack "$package"
done
