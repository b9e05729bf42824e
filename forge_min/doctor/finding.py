"""What a check found. Why that matters, and what to type next, is the code's row of codes.toml."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Literal, NamedTuple

from ..errors import ErrorGroup, ForgeError
from ..resources import table

State = Literal["ok", "warning", "failed", "skipped"]
_PLACE = re.compile(r"\{(\w+)\}")


class Finding(NamedTuple):
    """code: of the question, such as "D501"; `help CODE` explains it. subject: its title. state: a
    warning is worth a look, "failed" does not work, "skipped" could not be asked. next: a command,
    "" where all is well.
    """

    code: str
    subject: str
    state: State
    message: str
    why: str
    next: str = ""


@cache
def codes() -> dict[str, dict[str, str]]:
    """The rows of what doctor asks, by code."""
    rows = table(__package__.rpartition(".")[0], "codes.toml")
    return {code: row for code, row in rows.items() if code.startswith("D")}


def new_finding(
    code: str, state: State, message: str, /, *, next: str = "", **places: object
) -> Finding:
    """A finding of this code. next: the command that mends it, where it is not the code's own.
    places: values of the words in braces of that.
    """
    row = codes()[code]
    next = "" if state in ("ok", "skipped") else next or fill_placeholders(row["next"], places)
    return Finding(code, row["title"], state, message, row["text"], next)


def verdict(
    code: str, state: State, wrong: str, well: str, /, *, next: str = "", **places: object
) -> Finding:
    """What is wrong, in this state; where nothing is, that all is well."""
    return new_finding(code, state if wrong else "ok", wrong or well, next=next, **places)


def join_names(names: Iterable[str], most: int = 4) -> str:
    """Names for a message, of which only the first are told."""
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")


def fill_placeholders(command: str, places: dict[str, object]) -> str:
    """The command with its words in braces; one without a value is told in capitals."""
    return _PLACE.sub(lambda word: str(places.get(word[1]) or word[1].upper()), command)


def skipped(code: str, why: str) -> Finding:
    """A question that could not be asked."""
    return new_finding(code, "skipped", why)


def broken(code: str, err: BaseException) -> Finding:
    """A check that raised."""
    return new_finding(code, "failed", format_error(err))


def format_error(err: BaseException) -> str:
    """One line for a person; of somebody else's error without secrets."""
    if isinstance(err, ErrorGroup):
        return "; ".join(format_error(one) for one in err.errors)
    if isinstance(err, ForgeError):
        return f"{err.message} ({err.hint})" if err.hint else err.message
    try:
        said = str(err)
    except Exception:  # of a class of somebody else
        said = "(it cannot say why)"
    return " ".join(_masked(f"{type(err).__name__}: {said}", err).split()).rstrip(": ")


def _masked(text: str, err: BaseException) -> str:
    """Without secrets; of what masks them, the core may be what is not there."""
    try:
        from ..observe import tidied
    except (ImportError, ForgeError):
        return type(err).__name__
    return tidied(text, err)
