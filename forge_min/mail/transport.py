"""Transports of messages: an SMTP server (RFC 5321), or files in development."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import ConfigError, ForgeError

if TYPE_CHECKING:
    import smtplib
    from email.message import EmailMessage

OUTBOX = ".forge/mail"
"""The folder of messages in development, below that of the project."""
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_TIMEOUT = 30.0  # seconds for each step of a connection


class Rejected(ForgeError):
    """The server rejects the message for good."""

    default_code = "F728"


class SMTPTransport:
    """Sends each message on a connection of its own. The certificate is verified.

    url: `mail.url`.

    Raises ConfigError for a malformed URL, and for a password without TLS.
    """

    def __init__(self, url: str) -> None:
        try:
            self._url = urlsplit(url)
            options = parse_qs(self._url.query, strict_parsing=bool(self._url.query))
            self._authority = options.pop("ca", [None])[0]
            if options or self._url.path or not self._url.hostname:
                raise ValueError
            self._address = self._url.hostname, self._url.port or _PORTS[self._url.scheme]
        except (KeyError, ValueError):
            schemes = "smtp://, smtp+starttls:// and smtps://"
            message = f"mail.url is not a URL of a server; known are {schemes}"
            hint = "write / in a password as %2F; ?ca=FILE is the only option"
            raise ConfigError(message, hint=hint) from None
        if self._url.scheme == "smtp" and self._url.password:
            hint = "use smtp+starttls://"
            raise ConfigError("mail.url: a password is sent with TLS only", hint=hint)

    @contextmanager
    def connected(self) -> Iterator[smtplib.SMTP]:
        """Connect and sign in. Raises OSError and the errors of smtplib."""
        import smtplib  # PERF: loaded by the first message
        import ssl

        url = self._url
        (host, port) = self._address
        context = ssl.create_default_context(cafile=self._authority)
        if url.scheme == "smtps":
            client: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT, context=context)
        else:
            client = smtplib.SMTP(host, port, timeout=_TIMEOUT)
        with closing(client):
            if url.scheme == "smtp+starttls":
                client.starttls(context=context)
            if url.username:
                client.login(unquote(url.username), unquote(url.password or ""))
            yield client

    def send(self, mail: EmailMessage) -> None:
        """Send a message.

        Raises Rejected if the server rejects it for good (5xx); OSError and the errors of smtplib
        otherwise: it was not sent, or whether it was sent is unknown.
        """
        import smtplib

        with self.connected() as client:
            try:
                client.send_message(mail)
            except smtplib.SMTPRecipientsRefused as err:
                ((code, reply),) = err.recipients.values()
                _check_reply(code, reply)
                raise
            except smtplib.SMTPDataError as err:
                _check_reply(err.smtp_code, err.smtp_error)
                raise
            except smtplib.SMTPNotSupportedError as err:  # the address needs SMTPUTF8 (RFC 6531)
                raise Rejected(str(err)) from err
            # The server has the message: an error from now on must not send it again.
            with suppress(OSError, smtplib.SMTPException):
                client.quit()


class FileTransport:
    """Writes each message to a file <id>.eml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send(self, mail: EmailMessage) -> None:
        """Write a message."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = mail["Message-ID"].partition("@")[0].strip("<")
        file = self.folder / f"{name}.eml"
        file.write_bytes(mail.as_bytes())


def _check_reply(code: int, reply: bytes | str) -> None:
    """Raise Rejected for a permanent reply (RFC 5321, section 4.2.1)."""
    if code >= 500:
        if isinstance(reply, bytes):
            reply = reply.decode("utf-8", "replace")
        raise Rejected(f"the mail server rejects the message: {code} {reply}")
