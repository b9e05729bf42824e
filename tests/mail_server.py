"""A mail server of the tests (aiosmtpd), with TLS, passwords and failures."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes
from email.policy import default as policy
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

PASSWORD = "p@ss word/1"


class Inbox:
    """Keeps what it receives. Each hook may return a reply of SMTP instead of accepting."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.attempts: Counter[str] = Counter()
        self.on_recipient: Callable[[str], str] = lambda address: ""
        self.on_data: Callable[[bytes], str] = lambda data: ""
        self.after_data: Callable[[], object] = lambda: None
        self.lock = threading.Lock()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        with self.lock:
            self.attempts[address] += 1
            if reply := self.on_recipient(address):
                return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        with self.lock:
            if reply := self.on_data(envelope.content):
                if reply == "die":
                    assert server.transport is not None
                    server.transport.abort()
                    return "250 OK"
                return reply
            self.received.append(envelope.content)
            self.after_data()
        return "250 OK"

    def messages(self) -> list[Any]:
        """The received messages, parsed."""
        with self.lock:
            return [message_from_bytes(data, policy=policy) for data in self.received]


def authenticate(server: SMTP, session: Session, envelope: Envelope, kind: str, data: Any) -> Any:
    good = isinstance(data, LoginPassword) and data == LoginPassword(b"shop", PASSWORD.encode())
    return AuthResult(success=good, handled=good)


class MailServer:
    """A server of SMTP on a port of localhost, on a thread of its own.

    tls: for the whole connection; options: of aiosmtpd's SMTP.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, **options: Any) -> None:
        self.inbox = Inbox()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._sessions: list[SMTP] = []
        self._options = options
        created = self._loop.create_server(self._open, "localhost", 0, ssl=tls)
        self._server = asyncio.run_coroutine_threadsafe(created, self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"smtp://localhost:{self.port}"

    def _open(self) -> SMTP:
        with warnings.catch_warnings(action="ignore"):  # of passwords without STARTTLS
            self._sessions.append(SMTP(self.inbox, loop=self._loop, **self._options))
        return self._sessions[-1]

    async def _close(self) -> None:
        self._server.close()
        for session in self._sessions:
            if session.transport is not None:
                session.transport.abort()
        await asyncio.sleep(0.05)

    def stop(self) -> None:
        """Close the port and all connections."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def write_certificate(path: Path) -> Path:
    """Write a certificate for localhost, signed by itself, and its key into one file."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    done = subprocess.run([*command, "-keyout", str(path)], capture_output=True, check=True)
    with path.open("ab") as file:
        file.write(done.stdout)
    return path
