"""Password-reset links, created and sent after the response to the request that asks for them.

The time that sending takes would otherwise reveal whether an email has an account.
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

PREFIX = "/account"
MAX_WAITING = 100
"""Requests that wait for the thread, at most."""

SendReset = Callable[[accounts.User, str], object]
"""Sends a user a link; the text is the path of a page that sets a new password once."""

log = logging.getLogger("forge_min.account")


class PasswordResetSender(threading.Thread):
    """The thread `password-reset`. Errors of `send` are logged.

    send: called in the context of the request (its log fields and language).
    """

    def __init__(self, database: Database, send: SendReset) -> None:
        super().__init__(name="password-reset", daemon=True)
        self._database, self._send = database, send
        self._requests: SimpleQueue[tuple[Context, str] | None] = SimpleQueue()  # None ends `run`
        self._stopped = False

    def enqueue(self, email: str) -> None:
        """Send a link soon if the email has an account; dropped if too many requests wait."""
        if self._stopped or self._requests.qsize() >= MAX_WAITING:
            log.warning("a password-reset link is not sent: too many wait, or the process stops")
            return
        self._requests.put((copy_context(), email))

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread once all links are sent, or after `timeout` seconds. Idempotent."""
        self._stopped = True
        self._requests.put(None)
        self.join(timeout)
        lost = 0
        while not self._requests.empty():
            lost += self._requests.get() is not None
        self._requests.put(None)
        if lost:
            log.warning("%d password-reset links are not sent: the process ends", lost)

    def run(self) -> None:
        """Send until `stop`."""
        while request := self._requests.get():
            context, email = request
            context.run(self._send_link, email)

    def _send_link(self, email: str) -> None:
        try:
            conn = self._database.connection()
            user = signing.find_user(conn, email)
            if not user.disabled:
                self._send(user, reset_path(signing.create_reset(conn, user.id, requested=True)))
        except NotFound:
            pass
        except Exception:  # of the project's code too: the next request is still handled
            log.exception("a password-reset link was not sent")


def reset_path(secret: str) -> str:
    """Return the path of the page that sets a new password with this secret."""
    return f"{PREFIX}/reset?{urlencode({'key': secret}, quote_via=quote)}"
