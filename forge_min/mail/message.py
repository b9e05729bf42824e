"""A message, and its form of RFC 5322."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..auth import accounts
from ..errors import FieldError, Invalid
from ..i18n import text as translated

if TYPE_CHECKING:
    from email.message import EmailMessage


class Message(NamedTuple):
    """One message to one address.

    id: of its Message-ID; the same when it is sent again.
    text: the plain text.
    html: the same as a document, "" for none.
    """

    id: str
    to: str
    subject: str
    text: str
    html: str = ""

    def build(self, sender: str) -> EmailMessage:
        """Return the message with its headers. sender: an address, or "Name <address>".

        Raises Invalid F631 for an address or subject that cannot be a header.
        """
        from email.errors import MessageError
        from email.headerregistry import Address
        from email.message import EmailMessage
        from email.policy import SMTP
        from email.utils import formatdate, parseaddr

        accounts.check_email(self.to)
        name, address = parseaddr(sender)
        mail = EmailMessage(SMTP)
        mail["From"] = Address(name, addr_spec=address)
        try:
            local, _, domain = self.to.rpartition("@")
            ascii_domain = domain.encode("idna").decode()
            mail["To"] = Address(addr_spec=f"{local}@{ascii_domain}")
            mail["Subject"] = self.subject
        except (ValueError, MessageError) as err:
            why = translated("cannot be the address or the subject of a message")
            error = FieldError("/to", "invalid", why)
            raise Invalid([error], f"mail: {err}", code="F631") from None
        mail["Date"] = formatdate(localtime=True)
        host = address.rpartition("@")[2]
        mail["Message-ID"] = f"<{self.id}@{host}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: vacation responders do not answer
        mail.set_content(self.text)
        if self.html:
            mail.add_alternative(self.html, subtype="html")
        return mail
