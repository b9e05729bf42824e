#!/bin/sh
# What `make image-test` needs from the system: a builder of images that needs no daemon, and a maker of
# base images. Installed through apt-get, only when missing and only as root; otherwise a loud line.
set -eu
missing=
for name in buildah netavark debootstrap; do
    dpkg -s "$name" >/dev/null 2>&1 || missing="$missing $name"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q
    # shellcheck disable=SC2086  # a list of names
    apt-get install -qy --no-install-recommends $missing
else
    echo "forge_min: NOT INSTALLED, only root can: $missing" >&2
fi
