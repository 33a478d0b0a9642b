#!/usr/bin/env bash
# Makes the two base images that the Dockerfiles name, from the Debian packages of this machine, where no registry can
# be reached: the same names, the same users and the same kind of content as the distroless images, and nothing else.
# An image that is already there is left alone; `base.sh --force` makes both anew.
#
#   gcr.io/distroless/static-debian12:nonroot  certificates, time zones, users; runs as 65532
#   gcr.io/distroless/base-debian12:latest     the same and glibc; runs as root
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/buildah.sh"

static_image=gcr.io/distroless/static-debian12:nonroot
base_image=gcr.io/distroless/base-debian12:latest

# copy_package ROOT PACKAGE: the package's files under ROOT, without documentation and character set tables.
copy_package() {
  local root=$1 package=$2 path
  if ! dpkg-query --status "$package" >/dev/null 2>&1; then
    echo "package $package is not installed: its files stay out of the image" >&2
    return 0
  fi
  while read -r path; do
    case $path in
      /usr/share/doc/*/copyright) ;;
      /usr/share/doc/* | /usr/share/lintian/* | /usr/share/man/* | */gconv/* | /usr/share/zoneinfo/right/* | /usr/share/zoneinfo/posix/*) continue ;;
    esac
    if [[ -L $path || -f $path ]]; then
      mkdir -p "$root$(dirname "$path")"
      cp --no-dereference --preserve=mode,timestamps,links "$path" "$root$path"
    fi
  done < <(dpkg-query --listfiles "$package")
}

# fill ROOT PACKAGE...: a root file system with users, folders, certificates and the packages' files.
fill() {
  local root=$1 package
  shift
  mkdir -p "$root"/{dev,etc/ssl/certs,home,proc,root,run,sys,usr/bin,usr/lib,usr/lib64,usr/sbin,var/tmp}
  for package in bin lib lib64 sbin; do
    ln -s "usr/$package" "$root/$package"
  done
  install -d -m 1777 "$root/tmp"
  install -d -m 0700 -o 65532 -g 65532 "$root/home/nonroot"
  printf '%s\n' 'root:x:0:0:root:/root:/sbin/nologin' 'nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin' \
    'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$root/etc/passwd"
  printf '%s\n' 'root:x:0:' 'nobody:x:65534:' 'tty:x:5:' 'staff:x:50:' 'nonroot:x:65532:' >"$root/etc/group"
  printf '%s\n' 'hosts: files dns' >"$root/etc/nsswitch.conf"
  for package in "$@"; do
    copy_package "$root" "$package"
  done
  # From the package's own certificates, not from the machine's bundle, which may hold certificates of its owner.
  if compgen -G '/usr/share/ca-certificates/mozilla/*.crt' >/dev/null; then
    cat /usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
  fi
}

# make_image NAME USER PACKAGE...
make_image() {
  local name=$1 user=$2 root container target
  shift 2
  root=$(mktemp -d)
  fill "$root" "$@"
  container=$(image_tool from --pull-never scratch)
  target=$(image_tool mount "$container")
  cp --archive "$root/." "$target/"
  image_tool umount "$container" >/dev/null
  image_tool config --user "$user" --workingdir / --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$container"
  image_tool commit --quiet --rm --format docker --timestamp 0 "$container" "$name" >/dev/null
  rm -rf "$root"
  echo "made $name"
}

if [[ ${1:-} == --force ]] || ! image_exists "$static_image"; then
  make_image "$static_image" 65532:65532 base-files netbase tzdata
fi
if [[ ${1:-} == --force ]] || ! image_exists "$base_image"; then
  make_image "$base_image" 0:0 base-files netbase tzdata libc6
fi
