"""The one door to a person: answers, errors and their exit codes. Only diagnostics of schemas and
failed migrations are printed elsewhere.
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

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
STUCK = 75  # EX_TEMPFAIL of sysexits.h: start it again

_FULL = "make room there, then run it again"
_FORBIDDEN = "this user may not do that there: ask for the right, or name another place"
# What the machine refuses → a hint; it is no defect of forge_min (errno(3)).
_MACHINE = {
    errno.ENOSPC: _FULL, errno.EDQUOT: _FULL,
    errno.EROFS: _FORBIDDEN, errno.EACCES: _FORBIDDEN, errno.EPERM: _FORBIDDEN,
}  # fmt: skip


def print_result(answer: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print an answer on stdout: as JSON, else its lines, which are for a person."""
    for line in [json.dumps(answer, default=str)] if as_json else lines:
        print(line)


def warn(said: str | ForgeError) -> None:
    """Say on stderr what a person should know, and go on. An error is told with code and hint."""
    if isinstance(said, ForgeError):
        print(f"warning[{said.code}]: {said.message}\nhint: {said.hint}", file=sys.stderr)
    else:
        print(f"warning: {said}", file=sys.stderr)


def print_error(error: BaseException, stream: TextIO, *, verbose: bool = False) -> int:
    """Print `error[CODE]: what` and `hint: what to do`; return the exit code.

    verbose: print the traceback of an unexpected error as well. What somebody else's error says is
    printed as the log keeps it: without secrets.
    """
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, ErrorGroup):
        for one in error.errors:
            print_error(one, stream)
        return FAILED
    if isinstance(error, ForgeError):
        print(f"error[{error.code}]: {error.message}", file=stream)
        if error.hint:
            print(f"hint: {error.hint}", file=stream)
        return USAGE if isinstance(error, UsageError) else FAILED
    refused = _MACHINE.get(error.errno or 0) if isinstance(error, OSError) else None
    if verbose:
        import traceback  # PERF: 5 ms that no other start waits for

        print(_masked("".join(traceback.format_exception(error)), error), file=stream)
    if refused:
        print("error[F002]:", _masked(str(error), error), file=stream)
    else:
        print("error[F001]:", _masked(f"{type(error).__name__}: {error}", error), file=stream)
    if refused or not verbose:
        print("hint:", refused or "this is a defect; -v shows where it happened", file=stream)
    return FAILED


def _masked(text: str, error: BaseException) -> str:
    """Without secrets; of what masks them, the core may be what is not there."""
    try:
        from ..observe import tidied  # PERF: 50 ms that no other start waits for
    except (ImportError, ForgeError):
        return type(error).__name__
    return tidied(text.rstrip("\n"), error)


def run(command: Callable[[], int], *, verbose: bool = False) -> int:
    """Run a command behind the door; its exit code.

    A closed stdout ends it quietly: it has failed unless all its work was done. One that was
    closed at the start takes what nobody reads.
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
    """Python has None for a stream that was closed at the start (Python manual, sys.stdout), and
    for a character that the terminal does not have an error: what it is for is told in any case.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (to the end of the process)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
