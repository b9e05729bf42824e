"""The one tree of errors. Domain words only: HTTP statuses are given in `wsgi/`, exit codes in
`ops/console.py`.

Every error says what went wrong (`message`), has a stable `code` that `forge-min help CODE`
explains (the texts lie in codes.toml) and may say what to do next (`hint`). Libraries raise; only
the command line prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypedDict, Unpack


def printable(text: str) -> str:
    """Escape what could end the line, move the cursor or hide: what str.isprintable() refuses."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _About(TypedDict, total=False):
    """What every error takes besides its message."""

    code: str | None
    hint: str | None


class ForgeError(Exception):
    """Root of the tree.

    message: one sentence, no trailing newline. code: "F" and three digits. hint: the next step, or
    None.
    """

    default_code = "F001"

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint


# -- before anything runs: what a person wrote -----------------------------------------------------


class UsageError(ForgeError):
    """A command was called in a way that cannot mean anything. The command line exits with 2."""

    default_code = "F010"


class ConfigError(ForgeError):
    """A configuration value is missing or wrong."""

    default_code = "F200"


class ErrorGroup(ForgeError):
    """Several errors of one run, all reported at once. `errors` keeps their order."""

    def __init__(self, message: str, errors: Sequence[ForgeError]) -> None:
        super().__init__(message, code=errors[0].code if errors else None)
        self.errors = tuple(errors)


class BuildError(ForgeError):
    """An artifact, a migration or a generated file could not be made."""

    default_code = "F300"


# -- at run time: what the domain refuses ----------------------------------------------------------


class FieldError(NamedTuple):
    """One wrong value. pointer: RFC 6901 JSON pointer ("/price"). code: a stable word
    ("required").
    """

    pointer: str
    code: str
    message: str


class DomainError(ForgeError):
    """What an action refuses. Everything below it may be shown to the client."""

    default_code = "F600"


class NotFound(DomainError):
    """No such row, or none that this caller may see."""

    default_code = "F601"


class Conflict(DomainError):
    """A unique rule or a version stands in the way. `constraint` is PostgreSQL's name of it and
    `table` the table's, or "".
    """

    default_code = "F602"

    def __init__(
        self,
        message: str,
        *,
        constraint: str = "",
        table: str = "",
        errors: Sequence[FieldError] = (),
        **about: Unpack[_About],
    ) -> None:
        super().__init__(message, **about)
        self.constraint = constraint
        self.table = table
        self.errors = tuple(errors)


class StaleVersion(Conflict):
    """The row changed since the caller read it (If-Match, RFC 9110 section 13.1.1)."""

    default_code = "F607"


class PreconditionRequired(DomainError):
    """A change must name the version that it is based on (If-Match; RFC 6585 section 3)."""

    default_code = "F621"


class Invalid(DomainError):
    """Values that break the schema's rules; `errors` holds every one of them."""

    default_code = "F603"

    def __init__(
        self,
        errors: Sequence[FieldError],
        message: str = "some values are not valid",
        **about: Unpack[_About],
    ) -> None:
        super().__init__(message, **about)
        self.errors = tuple(errors)


class BadRequest(DomainError):
    """A request that cannot be understood: malformed JSON, an unknown filter, a broken cursor.

    errors: the parameters that are wrong, where that is known.
    """

    default_code = "F608"
    errors: Sequence[FieldError] = ()


class Unauthenticated(DomainError):
    """The caller is nobody, and somebody is needed."""

    default_code = "F604"


class Forbidden(DomainError):
    """The caller is known, and may not."""

    default_code = "F605"


class TooManyAttempts(DomainError):
    """A password was tried too often. `retry_after`: seconds after which to try again."""

    default_code = "F637"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConstraintViolation(DomainError):
    """PostgreSQL refused a write. Raised by `db/`; `actions/` gives it the field from gen's map.

    kind: "foreign_key", "check", "not_null", "exclusion" or "size". column: known for
    "not_null" only. table: the one with the rule.
    """

    default_code = "F606"

    def __init__(
        self, message: str, *, kind: str, constraint: str = "", column: str = "", table: str = ""
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.constraint = constraint
        self.column = column
        self.table = table


# -- at run time: what the machine refuses ---------------------------------------------------------


class Unavailable(ForgeError):
    """Something that is needed does not answer now. `retry_after`: seconds after which to try
    again.
    """

    default_code = "F400"

    def __init__(self, message: str, *, retry_after: int = 1, **about: Unpack[_About]) -> None:
        super().__init__(message, **about)
        self.retry_after = retry_after


class DatabaseError(ForgeError):
    """PostgreSQL answered with an error that no rule above names: a defect of ours or the user's
    SQL.
    """

    default_code = "F410"


class TooManyConnections(Unavailable):
    """The limiter's global cap is reached."""

    default_code = "F501"


class TooManyConnectionsForUser(TooManyConnections):
    """The limiter's cap of one user is reached."""

    default_code = "F502"


class ServerError(ForgeError):
    """A server could not start: a port in use, a file limit, a bad address."""

    default_code = "F500"
