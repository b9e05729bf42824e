#!/bin/sh
# The core's tests under AddressSanitizer with UndefinedBehaviorSanitizer, ThreadSanitizer and valgrind, each in a
# copy with a core of its own, and under a free-threaded Python (PEP 703): python3.14t or python3.13t on PATH.
# Usage: tools/sanitize.sh PYTHON [address|thread|valgrind|free]...
# A report of any of them ends it with an error. What this machine lacks is skipped loudly.
set -eu

python=$1
shift
root=$PWD
[ $# -gt 0 ] || set -- address thread valgrind free

say() { echo "sanitize: $*" >&2; }

# copy NAME CFLAGS: the package with its tests below build/sanitize/NAME, and the core compiled there.
copy() {
    place=build/sanitize/$1
    rm -rf "$place"
    mkdir -p "$place/tests"
    cp -r forge_min conftest.py setup.py pyproject.toml README.md LICENSE "$place"
    cp -r tests/fanout tests/observe tests/wsgi "$place/tests"
    rm -f "$place"/forge_min/_fanout*.so
    say "$1: compiling"
    (cd "$place" && CFLAGS="$2" LDFLAGS="$2" FORGE_REQUIRE_EXT=1 "$python" setup.py -q build_ext --inplace >build.log 2>&1) || {
        cat "$place/build.log" >&2
        exit 1
    }
}

# check NAME SELECTION ...: the core's tests in the copy, under the environment that the rest gives.
check() {
    name=$1 chosen=$2
    shift 2
    say "$name: the tests"
    (cd "$root/build/sanitize/$name" && env PYTHONMALLOC=malloc FORGE_IMPL=c PYTHONPATH="$PWD" "$@" \
        "$python" -m pytest -q -p no:cacheprovider -p no:xdist -k "$chosen" \
        tests/fanout tests/wsgi/test_plain.py tests/wsgi/test_whole.py tests/wsgi/test_io_thread.py tests/observe/test_log_access.py)
}

case $python in /*) ;; *) python=$root/$python ;; esac
for kind; do
    case $kind in
    valgrind) wanted=$(command -v valgrind || true) ;;
    free) wanted=$(command -v python3.14t || command -v python3.13t || true) ;;
    *) wanted=$(gcc -print-file-name=lib${kind%${kind#?}}san.so 2>/dev/null || true) ;;
    esac
    case $wanted in
    /*) ;;
    *)
        say "SKIPPED: $kind, which this machine does not have"
        continue
        ;;
    esac
    case $kind in
    address)
        copy address "-g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
        check address "not python" FORGE_TEST_PATIENCE=10 LD_PRELOAD="$wanted $(gcc -print-file-name=libubsan.so)" \
            ASAN_OPTIONS=detect_leaks=0:handle_segv=1:quarantine_size_mb=16 UBSAN_OPTIONS=print_stacktrace=1
        ;;
    thread)
        copy thread "-g -fno-omit-frame-pointer -fsanitize=thread"
        check thread "not python" FORGE_TEST_PATIENCE=10 LD_PRELOAD="$wanted" \
            TSAN_OPTIONS="exitcode=66:history_size=7:report_thread_leaks=0"
        ;;
    valgrind)
        copy valgrind "-g -O1"
        # It runs one thread at a time, and slowly: no race against a clock. Of its reports those of the core count.
        log=$root/build/sanitize/valgrind/report.log
        check valgrind "not python and not process_ends and not needs_no_gil" FORGE_TEST_PATIENCE=20 \
            "$wanted" --quiet --leak-check=full --show-leak-kinds=definite --log-file="$log"
        # Not those of Python's own code while the core imports another module.
        if sed 's/^==[0-9]*== *//' "$log" | awk 'BEGIN { RS = "" } /_fanout/ && !/__Pyx__?Import/ { print; found = 1 } END { exit !found }' >&2; then
            say "valgrind: the reports above"
            exit 1
        fi
        ;;
    free)
        # Newer hypothesis has no wheel for it and wants a Rust compiler.
        "$wanted" -m venv build/sanitize/python
        usual=$python python=$root/build/sanitize/python/bin/python
        "$python" -m pip install -q cython "hypothesis<6.148" pytest pytest-randomly "setuptools>=77"
        copy free "-g -O2"
        # The twin without the GIL; the compiled core has it turned on again when it is imported, and says so.
        # Not the ends of processes: 3.13 can hang when one ends with a daemon thread, whoever started it.
        check free "python and not process_ends" PYTHONMALLOC=default PYTHON_GIL=0 FORGE_IMPL=python
        check free "not python and not process_ends" PYTHONMALLOC=default PYTHON_GIL=1
        python=$usual
        ;;
    esac
done
