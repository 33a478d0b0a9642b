#!/bin/sh
# Builds libnvidia-ml.so.1 into the given folder, unless it is there, is of the same kind, and is newer than its source.
# Usage: build.sh <folder> [<driver version it is built for, or ""> [<function it lacks>...]]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$1 version=${2:-}
[ $# -lt 2 ] && shift || shift 2
out=$folder/libnvidia-ml.so.1
kind="$version $*"
mkdir -p "$folder"
if [ -e "$out" ] && [ "$(cat "$out.kind" 2>/dev/null)" = "$kind" ] && [ -z "$(find "$here/lib" "$here/build.sh" -newer "$out")" ]; then
	exit 0
fi
# Temporary names first: several tests may build at once, and a process may have the old file loaded.
trap 'rm -f "$out.$$" "$out.$$.map"' EXIT
{
	echo '{ local: foretide_none;'
	for function; do echo "$function;"; done
	echo '};'
} >"$out.$$.map"
"${CC:-gcc}" -std=c11 -O1 -Wall -Wextra -Werror -fvisibility=hidden -shared -fPIC -pthread -Wl,-Bsymbolic -Wl,-soname,libnvidia-ml.so.1 \
	-Wl,--version-script="$out.$$.map" "-DBUILT_FOR=\"$version\"" -o "$out.$$" "$here"/lib/*.c -ldl
mv "$out.$$" "$out"
echo "$kind" >"$out.kind"
