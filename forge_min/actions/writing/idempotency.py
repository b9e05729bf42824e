"""Idempotency keys: the first answer to a request is kept for a day and given again to its
repetitions, in the transaction of what the request does.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from psycopg.types.json import Jsonb

from ... import db
from ...errors import Conflict, Invalid
from ...text import text

Headers = list[tuple[str, str]]
Answer = tuple[int, Headers, bytes]
Run = Callable[[db.Connection], Answer]

_SQL = db.load_sql("forge_min.actions.writing", "idempotency.sql")


def once(
    conn: db.Connection, scope: tuple[str, ...], key: str, request_hash: str, run: Run
) -> tuple[int, Headers, bytes, bool]:
    """What `run` answers the first time, as status, headers and body (UTF-8), and whether this is
    a repetition.

    scope: who does what; the same key in another is another key. run: gets the connection, in whose
    transaction its answer is kept; when it raises, nothing is. Raises Conflict F622 while the same
    key is in progress elsewhere, Invalid F623 when it came with another request_hash.
    """
    params = {"scope": json.dumps(scope), "key": key, "hash": request_hash}
    with db.transaction(conn):
        ((free,),) = db.run(conn, _SQL["lock"], params)
        if not free:
            raise Conflict(text("a request with this Idempotency-Key is in progress"), code="F622")
        for stored_hash, status, headers, body in db.run(conn, _SQL["find"], params):
            if stored_hash != request_hash:
                message = text("this Idempotency-Key was used with another request")
                raise Invalid([], message, code="F623")
            return status, [(name, value) for name, value in headers], body.encode(), True
        status, headers, content = run(conn)
        answer = {"status": status, "headers": Jsonb(headers), "body": content.decode()}
        db.run(conn, _SQL["keep"], params | answer)
        return status, headers, content, False
