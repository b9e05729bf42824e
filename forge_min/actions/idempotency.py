"""Requests with an Idempotency-Key: they run once, and repetitions get the stored response."""

from __future__ import annotations

import json
from collections.abc import Callable

from psycopg.types.json import Jsonb

from .. import db
from ..auth import current_identity
from ..errors import Conflict, Invalid
from ..i18n import text
from .base import Params
from .resource import R
from .rule import RuledActions

Headers = list[tuple[str, str]]
Run = Callable[[db.Connection], tuple[int, Headers, bytes]]
IN_PROGRESS = "F622"
_IDEMPOTENCY = db.load_sql("forge_min.actions", "idempotency.sql")


class IdempotentActions(RuledActions[R]):
    """Runs requests once for each Idempotency-Key."""

    def once(
        self,
        key: str,
        request_hash: str,
        run: Run,
        *,
        operation: str = "create",
        path: str = "",
        client: str = "",
        repeatable: bool = False,
    ) -> tuple[int, Headers, bytes, bool]:
        """Call `run` only once for an Idempotency-Key of the current identity.

        Its response is stored for a day, in the same transaction as its writes, and returned to
        repetitions. If it raises, nothing is stored.

        key: the Idempotency-Key.
        request_hash: another one with the same key raises Invalid F623.
        run: takes the connection; returns status, headers and body (UTF-8).
        operation, path: a key is valid per operation and row. The identity must be permitted the
            operation, unless it is "".
        client: distinguishes anonymous users.
        repeatable: `run` is called again if it conflicts with another write; else that raises
            Unavailable F406.

        Returns the result of `run`, and whether this is a repetition. Raises Conflict F622 while
        another request with the same key is in progress.
        """
        identity = self.allow(operation) if operation else current_identity()
        scope = [identity.user]
        if not identity.user:
            scope.append(client)
        scope += [str(self.tenant() or ""), self.resource.topic, operation]
        if path:
            scope.append(path)
        # A repetition must not return columns that the identity may no longer see.
        hash = " ".join([request_hash, *sorted(self.hidden()), str(self._may_read())])
        params = {"scope": json.dumps(scope), "key": key, "hash": hash}
        conn = None if repeatable else self.connection()
        return self._retry(conn, _once, params, run)


def _once(conn: db.Connection, params: Params, run: Run) -> tuple[int, Headers, bytes, bool]:
    with db.transaction(conn):
        ((free,),) = db.run(conn, _IDEMPOTENCY["lock"], params)
        if not free:
            raise Conflict(
                text("a request with this Idempotency-Key is in progress"), code=IN_PROGRESS
            )
        for stored_hash, status, headers, body in db.run(conn, _IDEMPOTENCY["find"], params):
            if stored_hash != params["hash"]:
                message = text("this Idempotency-Key was used with another request")
                raise Invalid([], message, code="F623")
            # SAFETY: the first request may have been F409, without a standby that has its rows.
            db.run(conn, _IDEMPOTENCY["confirm"])
            return status, [(name, value) for name, value in headers], body.encode(), True
        status, headers, content = run(conn)
        response = {"status": status, "headers": Jsonb(headers), "body": content.decode()}
        db.run(conn, _IDEMPOTENCY["keep"], {**params, **response})
        return status, headers, content, False
