#!/bin/sh
# Makes the virtual environment of this checkout: tools/environment.sh FOLDER STAMP
# Needs a Python >= 3.11 (PYTHON names one) and nothing else; installs system packages only as root,
# and only python3-venv, where Debian's Python came without it.
set -eu
venv=$1
stamp=$2

say() { echo "forge_min: $*" >&2; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# The first candidate that can make an environment; else the first that is new enough.
find_python() {
    usable=
    for candidate in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3}; do
        is_new_enough "$candidate" || continue
        has_venv "$candidate" && echo "$candidate" && return
        usable=${usable:-$candidate}
    done
    echo "$usable"
}

if [ -e "$venv/.home" ] && [ "$(cat "$venv/.home")" != "$PWD" ]; then
    rm -rf "$venv" # scripts in it name the folder that it was made in
fi
if ! is_new_enough "$venv/bin/python"; then
    python=$(find_python)
    if [ -z "$python" ]; then
        say "Python 3.11 or newer is needed, and ${PYTHON:-python3} is not; name one: make PYTHON=/path/to/python3"
        exit 1
    fi
    if ! has_venv "$python"; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            say "$python lacks venv: installing python3-venv"
            apt-get update -q && apt-get install -qy python3-venv
        else
            say "$python cannot make virtual environments; install python3-venv, or name another: make PYTHON=..."
            exit 1
        fi
    fi
    say "making $venv with $python"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
echo "$PWD" >"$venv/.home"

say "installing forge_min with its tools into $venv"
# compat: by a path, where mypy and editors find the package; the default is an import hook, which they do not run.
"$venv/bin/python" -m pip install -q --config-settings editable_mode=compat -e '.[binary,embedded,dev]'
rm -rf forge_min.egg-info # a second description of the installed package, which would be found first here
# axe-core and Datastar, files that only tests read: without what their wheels want beside them, and
# whatever Python the code in them is for.
"$venv/bin/python" -m pip install -q --no-deps --ignore-requires-python \
    'axe-playwright-python==0.1.8' 'starhtml==0.7.0'
# psycopg-c may lag behind psycopg, or lack a compiler or libpq's headers: then psycopg-binary runs.
if command -v pg_config >/dev/null; then
    version=$("$venv/bin/python" -c 'from importlib.metadata import version; print(version("psycopg"))')
    "$venv/bin/python" -m pip install -q "psycopg[c]==$version" >/dev/null 2>&1 || true
fi
say "$("$venv/bin/python" -c 'from forge_min import fanout; print("the core is", {"c": "compiled", "python": "the Python twin: no C compiler, Python headers or Cython"}[fanout.IMPL])')"
# Beside the core of this Python the one for any, which `vendor` packs too (PEP 384).
if ls forge_min/_fanout.cpython-*.so >/dev/null 2>&1; then
    FORGE_ABI3=1 "$venv/bin/python" setup.py -q build_ext --inplace >/dev/null 2>&1 || say "no core for other Pythons"
fi
rm -f "$venv"/.made-*
touch "$stamp"
