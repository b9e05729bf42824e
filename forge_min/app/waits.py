"""How long the statements of a request may take or wait for a lock."""

import threading

from .. import db, wsgi

HURRIED = 0.2  # seconds that a write waits for a lock while others may wait longer


def limit_waits(read: float, lock: float, threads: int) -> wsgi.Middleware:
    """Return middleware that sets `db.read_timeout` and `db.lock_timeout` for a request.

    Writes that wait for a lock must leave threads to other requests. Which of them will wait is not
    known, so only `threads` requests at once, and not those with GET or HEAD, have the limit
    `lock`. All others have HURRIED.

    read, lock: seconds.
    """
    free = threading.Semaphore(threads)

    def limited(request: wsgi.Request, handler: wsgi.Handler) -> wsgi.Response:
        may_wait = request.method not in ("GET", "HEAD") and free.acquire(blocking=False)
        read_token = db.read_timeout.set(read)
        lock_token = db.lock_timeout.set(lock if may_wait else min(lock, HURRIED))
        try:
            return handler(request)
        finally:
            db.read_timeout.reset(read_token)
            db.lock_timeout.reset(lock_token)
            if may_wait:
                free.release()

    return limited
