"""The result of a check. The reason and the next command are the code's row of codes.toml."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Literal, NamedTuple

from ..errors import ErrorGroup, ForgeError
from ..redaction import error_message, redact_error
from ..resources import table

State = Literal["ok", "warning", "failed", "skipped"]
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Finding(NamedTuple):
    """The result of a check.

    code: the code of the check, such as "D501", which `help CODE` explains.
    subject: the title of the code.
    state: "ok"; "warning" should be looked at; "failed" does not work; "skipped" could not be
    checked.
    message: the result in words.
    why: why the check matters.
    next: a command; "" unless the state is "warning" or "failed".
    """

    code: str
    subject: str
    state: State
    message: str
    why: str
    next: str = ""


@cache
def codes() -> dict[str, dict[str, str]]:
    """Return the rows of doctor's codes."""
    rows = table(__package__.rpartition(".")[0], "codes.toml")
    return {code: row for code, row in rows.items() if code.startswith("D")}


def new_finding(
    code: str, state: State, message: str, /, *, next: str = "", **values: object
) -> Finding:
    """Return a finding of this code.

    next: the command that repairs it, default: the code's own.
    values: for the placeholders of that command.
    """
    row = codes()[code]
    if state in ("ok", "skipped"):
        next = ""
    elif not next:
        next = fill_placeholders(row["next"], values)
    return Finding(code, row["title"], state, message, row["text"], next)


def verdict(
    code: str, state: State, wrong: str, well: str, /, *, next: str = "", **values: object
) -> Finding:
    """Return a finding in this state with the message `wrong`; if that is "", "ok" with `well`."""
    if not wrong:
        return new_finding(code, "ok", well)
    return new_finding(code, state, wrong, next=next, **values)


def ok_unless(wrong: object, state: State) -> State:
    """Return the state of a finding: `state` if something is wrong, else "ok"."""
    return state if wrong else "ok"


def any_or_ok(code: str, wrong: Iterable[Finding], well: str) -> list[Finding]:
    """Return the findings of a code; without any, one that is "ok" with the message `well`."""
    return list(wrong) or [new_finding(code, "ok", well)]


def join_names(names: Iterable[str], most: int = 4) -> str:
    """Join names for a message, of which it contains only the first `most`."""
    every = list(names)
    text = ", ".join(every[:most])
    if len(every) > most:
        text += f" and {len(every) - most} more"
    return text


def labelled(label: str, names: Iterable[str]) -> str:
    """Return a label with joined names; "" without names."""
    text = join_names(names)
    return text and f"{label}: {text}"


def fill_placeholders(command: str, values: dict[str, object]) -> str:
    """Replace the {words} of a command by values; a word without a value becomes capitals."""
    return _PLACEHOLDER.sub(lambda word: str(values.get(word[1]) or word[1].upper()), command)


def format_error(err: BaseException) -> str:
    """Return an error as one line, without secrets if it is not one of forge_min's own."""
    if isinstance(err, ErrorGroup):
        return "; ".join(map(format_error, err.errors))
    if isinstance(err, ForgeError):
        return f"{err.message} ({err.hint})" if err.hint else err.message
    text = redact_error(f"{type(err).__name__}: {error_message(err)}", err)
    return " ".join(text.split()).rstrip(": ")
