"""Mail: a message is a job that is committed with the row that caused it, and sent by SMTP."""

from .mailer import Mailer, SendMail, send_tx
from .message import Message
from .transport import OUTBOX, FileTransport, SMTPTransport

__all__ = [
    "FileTransport", "Mailer", "Message", "OUTBOX", "SMTPTransport", "SendMail", "send_tx",
]  # fmt: skip
