"""Which statements a connection has prepared, and under which names (PostgreSQL manual, PREPARE).

psycopg keeps such a list too, for its cursors; this one is for `run`, which uses none.
"""

from __future__ import annotations

from psycopg import pq

CAN_CLOSE = pq.version() >= 170000  # PQclosePrepared; a pooler understands its message
Statement = tuple[str, tuple[int, ...]]  # its text, and the types (OIDs) of its values


class Prepared:
    """The statements of one connection that came often, by name. What is used least goes first.

    after: a statement is prepared once it came this often; None = never. room: so many stay
    prepared, and so many are counted. Where libpq cannot let one go (before 17, without the
    server's DEALLOCATE, which no pooler understands), the first stay.
    """

    def __init__(self, after: int | None, room: int = 100) -> None:
        self._after = after
        self._room = room
        self._names: dict[Statement, bytes] = {}
        self._counts: dict[Statement, int] = {}
        self._made = 0

    def at_once(self) -> None:
        """Prepare from now on what comes the first time, where anything is prepared."""
        self._after = None if self._after is None else 0

    def name(self, statement: Statement) -> bytes | None:
        """The name of a prepared statement."""
        name = self._names.pop(statement, None)
        if name is not None:
            self._names[statement] = name
        return name

    def new_name(self, statement: Statement) -> tuple[bytes, bytes | None] | None:
        """One use more: the name to prepare it under, when it came often enough and has none, and
        the name that is to be closed for it.
        """
        if self._after is None or statement in self._names:
            return None
        self._counts[statement] = count = self._counts.pop(statement, 0) + 1
        if len(self._counts) > self._room:
            del self._counts[next(iter(self._counts))]
        full = len(self._names) >= self._room
        if count <= self._after or (full and not CAN_CLOSE):
            return None
        old = self._names.pop(next(iter(self._names))) if full else None
        self._made += 1
        self._names[statement] = name = b"forge_%d" % self._made
        return name, old

    def forget(self, *statements: Statement) -> bool:
        """They could not be prepared, or are of no more use; whether one was. They count anew."""
        for statement in statements:
            self._counts.pop(statement, None)
        known = [self._names.pop(statement, None) for statement in statements]
        return any(known)
