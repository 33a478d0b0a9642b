# Sourced by the scripts beside it: buildah with a storage of its own, so that it neither meets nor mends the images
# and the storage driver of a podman or buildah that the machine uses otherwise.
foretide_images=${XDG_CACHE_HOME:-$HOME/.cache}/foretide/images

image_tool() {
  buildah --root "$foretide_images/storage" --runroot "$foretide_images/run" --storage-driver vfs "$@"
}

image_exists() {
  image_tool inspect --type image "$1" >/dev/null 2>&1
}

if ! command -v buildah >/dev/null; then
  echo "missing Debian package: apt-get install -y --no-install-recommends buildah" >&2
  exit 1
fi
mkdir -p "$foretide_images"
