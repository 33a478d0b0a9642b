#!/bin/sh
# Builds libdcgm.so.4 into the given folder, unless it is there and newer than its source.
# Usage: build.sh <folder>
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1/libdcgm.so.4
mkdir -p "$1"
if [ -e "$out" ] && [ "$out" -nt "$here/lib/dcgm.c" ] && [ "$out" -nt "$here/lib/watches.c" ] &&
	[ "$out" -nt "$here/lib/scenario.c" ] && [ "$out" -nt "$here/lib/scenario.h" ] && [ "$out" -nt "$here/lib/watches.h" ] &&
	[ "$out" -nt "$here/build.sh" ]; then
	exit 0
fi
# A temporary name first: several tests may build at once, and a process may have the old file loaded.
"${CC:-gcc}" -std=c11 -O2 -Wall -Wextra -Werror -fvisibility=hidden -shared -fPIC -pthread -Wl,-soname,libdcgm.so.4 \
	-o "$out.$$" "$here/lib/dcgm.c" "$here/lib/watches.c" "$here/lib/scenario.c" -ldl
mv "$out.$$" "$out"
