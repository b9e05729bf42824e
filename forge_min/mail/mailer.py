"""The job that sends a message.

After an interruption a message is sent again with the same Message-ID, by which mail servers
recognise the duplicate.
"""

from __future__ import annotations

from uuid import uuid4

from .. import jobs
from ..db import Connection
from ..errors import ConfigError, Invalid
from .message import Message
from .transport import FileTransport, Rejected, SMTPTransport


class Mailer:
    """Sends messages in the name of the application.

    transport: None if mail is not configured.
    sender: an address, or "Name <address>".
    site: the URL of the application, for links.
    """

    def __init__(
        self, transport: SMTPTransport | FileTransport | None, sender: str, site: str
    ) -> None:
        self._transport = transport
        self._sender = sender
        self.site = site.rstrip("/")

    @property
    def is_configured(self) -> bool:
        """Whether messages can be sent."""
        return self._transport is not None

    def send(self, message: Message) -> None:
        """Send a message.

        Raises jobs.Discard if the server rejects it for good, ConfigError without `mail.url`, and
        the errors of the transport, after which the job is retried.
        """
        if self._transport is None:
            raise ConfigError("mail.url is not set", hint="set FORGE_MAIL_URL and FORGE_MAIL_FROM")
        try:
            self._transport.send(message.build(self._sender))
        except (Rejected, Invalid) as err:
            raise jobs.Discard(err.message) from err


class SendMail:
    """Sends one message."""

    kind = "forge_mail"
    timeout = 300.0

    def __init__(self, forge_mailer: Mailer) -> None:
        self._mailer = forge_mailer

    def work(self, job: jobs.Job) -> None:
        """Send it. Raises as `Mailer.send`."""
        self._mailer.send(Message(**job.raw_args))


def send_tx(conn: Connection, to: str, subject: str, text: str, html: str = "") -> int:
    """Insert the job of a message, which is sent if and when the transaction commits.

    to: one address.
    text, html: the message as plain text, and as a document; pages *.txt and *.html return them.

    Returns the id of the job.

    Raises Invalid F631 for an address or a subject that cannot be a header, and as
    `jobs.insert_tx`.
    """
    message = Message(str(uuid4()), to, subject, text, html)
    message.build("sender@example.com")  # so that the caller gets its errors
    return jobs.insert_tx(conn, SendMail, message._asdict())
