"""Links for a new password, made and sent behind the requests that ask for them.

How long that takes would tell whether an email has an account.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from urllib.parse import quote, urlencode

from ...auth import accounts, signing
from ...db import Database
from ...errors import NotFound

PLACE = "/account"
WAITING = 100
"""Requests whose turn has not come, at most."""

SendReset = Callable[[accounts.User, str], object]
"""Given a user and the path of a page that sets a new password once: sends them there."""

log = logging.getLogger("forge_min.account")


class Links(threading.Thread):
    """The thread `reset-links`. Errors of `send` are logged.

    send: called in the context of the request (its log fields and language).
    """

    def __init__(self, database: Database, send: SendReset) -> None:
        super().__init__(name="reset-links", daemon=True)
        self._database, self._send = database, send
        self._requests: SimpleQueue[tuple[Context, str] | None] = SimpleQueue()  # None ends `run`
        self._stopped = False

    def ask(self, email: str) -> None:
        """Send a link soon if the email has an account; dropped if too many requests wait."""
        if self._stopped or self._requests.qsize() >= WAITING:
            log.warning("a link for a new password is not sent: too many wait, or we stop")
            return
        self._requests.put((copy_context(), email))

    def stop(self, patience: float = 5.0) -> None:
        """End the thread when the waiting links are sent or `patience` seconds are over.
        Idempotent.
        """
        self._stopped = True
        self._requests.put(None)
        self.join(patience)
        lost = 0
        while not self._requests.empty():
            lost += self._requests.get() is not None
        self._requests.put(None)
        if lost:
            log.warning("%d links for a new password are not sent: the process ends", lost)

    def run(self) -> None:
        """Send until `stop`."""
        while request := self._requests.get():
            context, email = request
            context.run(self._make, email)

    def _make(self, email: str) -> None:
        try:
            conn = self._database.connection()
            user = signing.find_user(conn, email)
            if not user.disabled:
                self._send(user, reset_path(signing.create_reset(conn, user.id, requested=True)))
        except NotFound:
            pass
        except Exception:  # of the project's too: the next one has its turn
            log.exception("a link for a new password was not sent")


def reset_path(secret: str) -> str:
    """The page that a link for a new password leads to."""
    return f"{PLACE}/reset?{urlencode({'key': secret}, quote_via=quote)}"
