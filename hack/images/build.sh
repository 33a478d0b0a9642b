#!/usr/bin/env bash
# Builds one image without a daemon and without a registry, and writes it as a docker archive:
#
#   hack/images/build.sh <Dockerfile> <image:tag> <context folder> <out.tar>
#
# The Dockerfile may copy, and set what runs; the base images it names are made here if they are absent.
set -euo pipefail
if [[ $# -ne 4 ]]; then
  echo "usage: $0 <Dockerfile> <image:tag> <context folder> <out.tar>" >&2
  exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/buildah.sh"
dockerfile=$1 image=$2 context=$3 out=$4

# One build at a time: the storage is shared.
exec 9>"$foretide_images/lock"
flock 9

"$here/base.sh"
# A fixed time stamp: the same content is the same image.
image_tool build --quiet --isolation chroot --pull-never --layers=false --format docker --timestamp 0 \
  --file "$dockerfile" --tag "$image" "$context" >/dev/null
rm -f "$out.new"
image_tool push --quiet "$image" "docker-archive:$out.new:$image"
mv "$out.new" "$out"
image_tool rmi --prune >/dev/null 2>&1 || true # what the tag named before
echo "built $image: $out, $(stat --format %s "$out") bytes"
