"""The tree of all errors, in words of the domain.

`wsgi/` maps them to HTTP statuses, `ops/console.py` to exit codes. Every error has a message, a
stable `code` that `forge-min help CODE` explains (codes.toml), and often the next step (`hint`).
Libraries raise; only the command line prints.
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
    """The optional arguments of every error."""

    code: str | None
    hint: str | None


class ForgeError(Exception):
    """The base class of all errors.

    message: one sentence without a line end.
    code: "F" and three digits.
    hint: the next step, or None.
    """

    default_code = "F001"

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint


# -- before anything runs: errors in the input -----------------------------------------------------


class UsageError(ForgeError):
    """A command was called in a way that has no meaning. The command line exits with 2."""

    default_code = "F010"


class ConfigError(ForgeError):
    """A configuration value is missing or wrong."""

    default_code = "F200"


class ErrorGroup(ForgeError):
    """Several errors of one run, reported together. `errors` keeps their order."""

    def __init__(self, message: str, errors: Sequence[ForgeError]) -> None:
        super().__init__(message, code=errors[0].code if errors else None)
        self.errors = tuple(errors)


class BuildError(ForgeError):
    """An artifact, a migration or a generated file could not be created."""

    default_code = "F300"


# -- at run time: refused by the domain ------------------------------------------------------------


class FieldError(NamedTuple):
    """One wrong value.

    pointer: JSON pointer (RFC 6901) of the field, such as "/price".
    code: a stable word, such as "required".
    message: text for the user.
    """

    pointer: str
    code: str
    message: str


class DomainError(ForgeError):
    """An action refused its input. The client may see the messages of all subclasses."""

    default_code = "F600"


class NotFound(DomainError):
    """The row does not exist, or the caller may not see it."""

    default_code = "F601"


class Conflict(DomainError):
    """A unique rule or a version prevents the change.

    constraint, table: their names in PostgreSQL, or "".
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
    """Values break the schema's rules; `errors` holds every one of them."""

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
    """The request cannot be understood: malformed JSON, an unknown filter, a broken cursor.

    errors: the wrong parameters, if they are known.
    """

    default_code = "F608"
    errors: Sequence[FieldError] = ()


class Unauthenticated(DomainError):
    """The caller is anonymous, and authentication is required."""

    default_code = "F604"


class Forbidden(DomainError):
    """The caller is authenticated, but not permitted."""

    default_code = "F605"


class TooManyAttempts(DomainError):
    """A password was tried too often. retry_after: seconds to wait before the next attempt."""

    default_code = "F637"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConstraintViolation(DomainError):
    """PostgreSQL refused a write. `db/` raises it; `actions/` adds the field by gen's map.

    kind: "foreign_key", "check", "not_null", "exclusion" or "size".
    column: known only for "not_null".
    table: the table with the rule.
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


# -- at run time: refused by the machine -----------------------------------------------------------


class Unavailable(ForgeError):
    """A required service does not respond now.

    retry_after: seconds to wait before the next attempt.
    attempts: how often a process that starts may try again, once per second.
    """

    default_code = "F401"
    attempts = 0.0

    def __init__(self, message: str, *, retry_after: int = 1, **about: Unpack[_About]) -> None:
        super().__init__(message, **about)
        self.retry_after = retry_after


class ReadTimeout(Unavailable):
    """A read took longer than `database.read_timeout`. The client sees the hint."""

    default_code = "F642"


class DatabaseError(ForgeError):
    """PostgreSQL raised an error that no class above covers: a defect of ours or of user SQL."""

    default_code = "F410"


class TooManyConnections(Unavailable):
    """The limiter's cap over all users is reached."""

    default_code = "F501"


class TooManyConnectionsForUser(TooManyConnections):
    """The limiter's cap of one user is reached."""


class ServerError(ForgeError):
    """A server could not start: a port in use, a file limit, a bad address."""

    default_code = "F500"
