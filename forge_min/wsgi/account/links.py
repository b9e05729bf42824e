"""Links for a new password, made and sent behind the requests that ask for them.

How long that takes would tell whether an email has an account.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from urllib.parse import quote, urlencode

from ...auth import signing
from ...auth.accounts import User
from ...db import Database
from ...errors import NotFound

PLACE = "/account"
WAITING = 100
"""Requests whose turn has not come, at most."""

SendReset = Callable[[User, str], object]
"""Given a user and the path of a page that sets a new password once: sends them there."""

log = logging.getLogger("forge_min.account")


class Links:
    """The thread `reset-links`, which begins with the first link that is asked for.

    send: runs in the context of the request (its log fields and language). What raises is logged.
    """

    def __init__(self, database: Database, send: SendReset) -> None:
        self._database, self._send = database, send
        self._asked: deque[tuple[Context, str]] = deque()
        self._changed = threading.Condition()  # LOCK: guards the other three
        self._thread: threading.Thread | None = None
        self._stopped = False

    def ask(self, email: str) -> None:
        """Send a link soon, where the email has an account. Dropped where too many wait."""
        with self._changed:
            if self._stopped or len(self._asked) >= WAITING:
                log.warning("a link for a new password is not sent: too many wait, or we stop")
                return
            self._asked.append((copy_context(), email))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="reset-links", daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self, patience: float = 5.0) -> None:
        """End the thread, once what waits is sent or `patience` seconds are over. Idempotent."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is None:
            return
        self._thread.join(patience)
        with self._changed:
            lost = len(self._asked)
            self._asked.clear()
        if lost:
            log.warning("%d links for a new password are not sent: the process ends", lost)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked or self._stopped)
                if not self._asked:
                    return
                context, email = self._asked.popleft()
            context.run(self._make, email)

    def _make(self, email: str) -> None:
        try:
            conn = self._database.connection()
            user = signing.find_user(conn, email)
            if not user.disabled:
                self._send(user, reset_path(signing.create_reset(conn, user.id, asked=True)))
        except NotFound:
            pass
        except Exception:  # of the project's too: the next one has its turn
            log.exception("a link for a new password was not sent")


def reset_path(secret: str) -> str:
    """The page that a link for a new password leads to."""
    return f"{PLACE}/reset?{urlencode({'key': secret}, quote_via=quote)}"
