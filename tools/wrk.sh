#!/bin/sh
# wrk, the client of the HTTP benchmarks. Installed through apt-get, only when missing and only as
# root; otherwise a loud line, and the benchmarks skip its figures.
set -eu
command -v wrk >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "forge_min: installing wrk" >&2
    # A benchmark without wrk is better than none.
    { apt-get update -q && apt-get install -qy --no-install-recommends wrk; } >&2 ||
        echo "forge_min: NOT INSTALLED, apt-get failed: wrk; its figures are skipped" >&2
else
    echo "forge_min: NOT INSTALLED, only root can: wrk; its figures are skipped" >&2
fi
