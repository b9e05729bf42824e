"""Which statements a connection has prepared, and under which names (PostgreSQL manual, PREPARE).

psycopg keeps such a list too, for its cursors; this one is for `run`, which uses none.
"""

from __future__ import annotations

Statement = tuple[str, tuple[int, ...]]  # its text, and the types (OIDs) of its values


class Prepared:
    """The statements of one connection that came often, by name. What is used least goes first.

    after: a statement is prepared once it came this often; None = never. room: so many stay
    prepared, and so many are counted.
    """

    def __init__(self, after: int | None, room: int = 100) -> None:
        self._after = after
        self._room = room
        self._names: dict[Statement, bytes] = {}
        self._counts: dict[Statement, int] = {}
        self._made = 0

    def name(self, statement: Statement) -> bytes | None:
        """The name of a prepared statement; any other is counted."""
        name = self._names.pop(statement, None)
        if name is not None:
            self._names[statement] = name
        elif self._after is not None:
            self._counts[statement] = self._counts.pop(statement, 0) + 1
            if len(self._counts) > self._room:
                del self._counts[next(iter(self._counts))]
        return name

    def is_due(self, statement: Statement) -> bool:
        """Whether it came often enough to be prepared."""
        return self._after is not None and self._counts.get(statement, 0) > self._after

    def add(self, statement: Statement) -> tuple[bytes, bytes | None]:
        """A new name, and the one that is to be deallocated for it."""
        full = len(self._names) >= self._room
        old = self._names.pop(next(iter(self._names))) if full else None
        self._made += 1
        self._names[statement] = name = b"forge_%d" % self._made
        return name, old

    def forget(self, statement: Statement) -> bool:
        """It could not be prepared, or is of no more use; whether it was known. It counts anew."""
        self._counts.pop(statement, None)
        return self._names.pop(statement, None) is not None
