#!/bin/sh
# What a test run that allows no skip needs from the system: a C compiler and Python's headers, a browser
# with its driver, curl, openssl, a pooler, a load balancer, a Prometheus server with promtool, a mail server, checkers of HTML and of units, kustomize, ssh-keygen, strace.
# system.sh PACKAGE...: these packages too.
# Installed through apt-get, only when missing and only as root; otherwise a loud line.
set -eu
missing=
command -v gcc >/dev/null || missing="gcc libc6-dev"
if [ -x /usr/bin/python3 ]; then
    /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
    headers=$(/usr/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -e "$headers/Python.h" ] || missing="$missing python3-dev"
fi
for name in chromium chromium-driver curl haproxy kustomize openssh-client openssl pgbouncer postfix prometheus strace systemd tidy "$@"; do
    # Debian's packages: only dpkg knows, since a program may lie outside a user's PATH.
    dpkg -s "$name" >/dev/null 2>&1 || missing="$missing $name"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "forge_min: installing $missing" >&2
    apt-get update -q
    # shellcheck disable=SC2086  # a list of names
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing
    case "$missing" in *haproxy*)
        # Nor is haproxy's own service wanted.
        [ ! -d /run/systemd/system ] || systemctl disable -q --now haproxy ;;
    esac
    case "$missing" in *patroni*)
        # Tests start a cluster of their own.
        [ ! -d /run/systemd/system ] || systemctl disable -q --now etcd patroni postgresql ;;
    esac
    case "$missing" in *postfix*)
        # Tests start their own, with a configuration of their own.
        [ ! -d /run/systemd/system ] || systemctl disable -q --now postfix ;;
    esac
    case "$missing" in *prometheus*)
        # Tests start their own; the service would take port 9090, which is the admin server's.
        [ ! -d /run/systemd/system ] || systemctl disable -q --now prometheus ;;
    esac
else
    echo "forge_min: NOT INSTALLED, only root can: $missing" >&2
fi
