"""How long the statements of a request may take, and wait for a lock.

Each write that waits for a lock occupies a thread of the server, and another program may hold the
lock for minutes. So the time is short, and for half of the threads very short: the other half
remains for requests that need no lock. Which writes will wait is not known before they do.

`db.run` sends the time with a statement, unless its session has it (`db.limit_lock_waits`).
"""

import threading

from .. import db, wsgi

HURRIED = 0.2  # seconds that a write waits for a lock while others may wait longer


def limit_waits(read: float, lock: float, threads: int) -> wsgi.Middleware:
    """Return middleware that sets `db.read_timeout` and `db.lock_timeout` for a request.

    read: seconds that a read may take.
    lock: seconds that a write may wait for a lock in one of `threads` requests at a time, except
        those with GET and HEAD. All other requests have HURRIED, if that is shorter.
    threads: number of such requests.

    The middleware is called by several threads at once.
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
