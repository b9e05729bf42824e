"""The error boundary of the command line: results, errors and exit codes.

Only diagnostics of schemas and failed migrations are printed elsewhere.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterable
from io import TextIOWrapper
from typing import TextIO

from ..errors import ErrorGroup, ForgeError, UsageError
from ..resources import linked

DONE = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130
STUCK = 75  # EX_TEMPFAIL of sysexits.h: start it again


_FULL = "free disk space there, then run the command again"
_FORBIDDEN = "this user has no permission there: ask for it, or use another path"
# Errors of the operating system, which are not defects of forge_min → a hint (errno(3)).
_MACHINE = {
    errno.ENOSPC: _FULL, errno.EDQUOT: _FULL,
    errno.EROFS: _FORBIDDEN, errno.EACCES: _FORBIDDEN, errno.EPERM: _FORBIDDEN,
}  # fmt: skip


def print_result(answer: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a result on stdout: as JSON, or as lines of text."""
    if as_json:
        lines = [json.dumps(answer, default=str)]
    for line in lines:
        print(line)


def warn(warning: str | ForgeError) -> None:
    """Print a warning on stderr; a ForgeError with its code and hint."""
    text = f": {warning}"
    if isinstance(warning, ForgeError):
        text = f"[{warning.code}]: {warning.message}\nhint: {warning.hint}"
    print(f"warning{text}", file=sys.stderr)


def print_error(error: BaseException, stream: TextIO, *, verbose: bool = False) -> int:
    """Print an error with its code, and its hint; return the exit code.

    verbose: print the traceback of an unexpected error as well.

    Texts of foreign errors are masked as in the log: they contain no secrets.
    """
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, ErrorGroup):
        for member in error.errors:
            print_error(member, stream)
        return FAILED
    if isinstance(error, ForgeError):
        code = linked(error.code) if stream.isatty() else error.code
        print(f"error[{code}]: {error.message}", file=stream)
        if error.hint:
            print(f"hint: {error.hint}", file=stream)
        return USAGE if isinstance(error, UsageError) else FAILED
    _print_foreign_error(error, stream, verbose)
    return FAILED


def _print_foreign_error(error: BaseException, stream: TextIO, verbose: bool) -> None:
    from ..redaction import format_traceback, redact_error  # PERF: no other start waits for it

    code = "F001"
    text = f"{type(error).__name__}: {error}"
    hint = ""
    if not verbose:
        hint = "this is a defect: run it again with -v and report the traceback"
    if isinstance(error, OSError) and error.errno in _MACHINE:
        code = "F002"
        text = str(error)
        hint = _MACHINE[error.errno]
    if verbose:
        print(format_traceback(error).rstrip("\n"), file=stream)
    print(f"error[{code}]:", redact_error(text.rstrip("\n"), error), file=stream)
    if hint:
        print("hint:", hint, file=stream)


def run(command: Callable[[], int], *, verbose: bool = False) -> int:
    """Run a command inside the error boundary and return its exit code.

    A closed stdout ends the command without a message: the code is FAILED unless all its work was
    done. If stdout was closed at the start, output is discarded.
    """
    _replace_closed_streams()
    code = FAILED
    try:
        code = command()
        sys.stdout.flush()
        return code
    except (Exception, KeyboardInterrupt) as error:
        try:
            sys.stdout.flush()
        except OSError:
            # Python flushes stdout at exit: give it somewhere to flush to (Python manual, signal).
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return code
        return print_error(error, sys.stderr, verbose=verbose)


def _replace_closed_streams() -> None:
    """Make sure that printing never fails.

    Python has None for a stream that was closed at the start (Python manual, sys.stdout): its
    output goes to /dev/null. Characters that the terminal cannot show are escaped.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (to the end of the process)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
