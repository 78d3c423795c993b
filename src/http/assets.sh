#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Writes the table of assets.h as C:  assets.sh [FILE ...] > assets.c
#
# Each file is compressed once, here. Scripts and styles are served; the rest (the template of the
# report) is only there for the program itself.
set -eu

type_of() {
    case $1 in
    app-*.js) echo '"text/javascript; charset=utf-8"' ;;
    app-*.css) echo '"text/css; charset=utf-8"' ;;
    *) echo NULL ;;
    esac
}

echo '/* Made by src/http/assets.sh from the files of the page. */'
echo '#include "http/assets.h"'
number=0
table=
for file in "$@"; do
    name=$(basename "$file")
    plain_bytes=$(wc -c <"$file")
    printf '/* %s */\nstatic const unsigned char asset_%d[] = {\n' "$name" "$number"
    gzip -9 -n <"$file" | od -An -v -tu1 -w32 | sed 's/  */,/g; s/^,//; s/$/,/'
    echo '};'
    table="$table    {\"$name\", $(type_of "$name"), asset_$number, sizeof asset_$number, $((plain_bytes))},
"
    number=$((number + 1))
done
printf 'const struct http_asset http_assets[] = {\n%s    {NULL, NULL, NULL, 0, 0},\n};\n' "$table"
