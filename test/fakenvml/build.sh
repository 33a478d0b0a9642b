#!/bin/sh
# Builds libnvidia-ml.so.1 into the given folder, unless it is there and newer than its source.
# Usage: build.sh <folder>
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1/libnvidia-ml.so.1
mkdir -p "$1"
if [ -e "$out" ] && [ "$out" -nt "$here/lib/nvml.c" ] && [ "$out" -nt "$here/lib/scenario.c" ] &&
	[ "$out" -nt "$here/lib/scenario.h" ] && [ "$out" -nt "$here/build.sh" ]; then
	exit 0
fi
# A temporary name first: several tests may build at once, and a process may have the old file loaded.
"${CC:-gcc}" -std=c11 -O2 -Wall -Wextra -Werror -fvisibility=hidden -shared -fPIC -pthread -Wl,-soname,libnvidia-ml.so.1 \
	-o "$out.$$" "$here/lib/nvml.c" "$here/lib/scenario.c" -ldl
mv "$out.$$" "$out"
