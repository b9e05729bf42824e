"""Messages over SMTP: TLS, passwords, replies, and what a header may contain."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from forge_min import jobs
from forge_min.errors import ConfigError, Invalid
from forge_min.mail import FileTransport, Mailer, Message, SMTPTransport

from mail_server import PASSWORD, Inbox, authenticate

Start = Callable[..., tuple[Inbox, int]]
HELLO = Message("m1", "anna@example.com", "Grüße – 日本", "Hello\n\n.\nAnna", "<p>Hello</p>")


def mailer(url: str, sender: str = "Café Müller <shop@example.com>") -> Mailer:
    return Mailer(SMTPTransport(url), sender, "https://shop.example")


def test_a_message_arrives_with_both_parts_and_its_id(start: Start) -> None:
    inbox, port = start()
    mailer(f"smtp://localhost:{port}").send(HELLO)
    (mail,) = inbox.messages()
    assert mail["Subject"] == HELLO.subject and mail["To"] == HELLO.to
    assert mail["From"] == "Café Müller <shop@example.com>"
    assert mail["Message-ID"] == "<m1@example.com>" and mail["Date"].datetime.tzinfo
    assert mail["Auto-Submitted"] == "auto-generated"
    plain, html = mail.get_body(["plain"]), mail.get_body(["html"])
    assert plain.get_content().replace("\r\n", "\n") == "Hello\n\n.\nAnna\n"
    assert html.get_content().strip() == "<p>Hello</p>"


@pytest.mark.parametrize("scheme", ["smtp+starttls", "smtps"])
def test_tls_is_verified_and_carries_the_password(
    scheme: str, start: Start, certificate: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    tls = {"tls": context} if scheme == "smtps" else {"tls_context": context}
    inbox, port = start(
        authenticator=authenticate, auth_required=True, auth_require_tls=scheme != "smtps", **tls
    )
    server = f"{scheme}://shop:{quote(PASSWORD, safe='')}@localhost:{port}"
    with pytest.raises(ssl.SSLCertVerificationError):
        mailer(server).send(HELLO)
    # The certificate is for localhost, which is not the address.
    with pytest.raises(ssl.SSLCertVerificationError):
        mailer(f"{server.replace('@localhost', '@127.0.0.1')}?ca={certificate}").send(HELLO)
    with pytest.raises(smtplib.SMTPAuthenticationError):
        mailer(f"{scheme}://shop:wrong@localhost:{port}?ca={certificate}").send(HELLO)
    assert not inbox.received
    mailer(f"{server}?ca={certificate}").send(HELLO)
    assert len(inbox.received) == 1


def test_a_server_without_starttls_gets_nothing(start: Start) -> None:
    inbox, port = start()
    with pytest.raises(smtplib.SMTPNotSupportedError):
        mailer(f"smtp+starttls://localhost:{port}").send(HELLO)
    assert not inbox.attempts


def test_a_permanent_reply_discards_and_a_temporary_one_is_an_error(start: Start) -> None:
    inbox, port = start()
    post = mailer(f"smtp://localhost:{port}")
    for reply in ("550 5.1.1 no such user", "553 no"):
        inbox.on_recipient = lambda address, reply=reply: reply  # type: ignore[misc]
        with pytest.raises(jobs.Discard, match="rejects the message: 55"):
            post.send(HELLO)
    inbox.on_recipient = lambda address: "451 4.7.1 greylisted"
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        post.send(HELLO)
    inbox.on_recipient = lambda address: ""
    inbox.on_data = lambda data: "554 5.7.1 spam"
    with pytest.raises(jobs.Discard, match="554"):
        post.send(HELLO)
    for reply in ("452 4.3.1 disk full", "die"):
        inbox.on_data = lambda data, reply=reply: reply  # type: ignore[misc]
        with pytest.raises((smtplib.SMTPException, OSError)):
            post.send(HELLO)
    inbox.on_data = lambda data: ""
    post.send(HELLO)
    assert len(inbox.received) == 1


def test_an_address_that_no_server_takes_is_discarded_and_domains_are_encoded(start: Start) -> None:
    inbox, port = start()
    post = mailer(f"smtp://localhost:{port}")
    with pytest.raises(jobs.Discard):
        post.send(HELLO._replace(to="\u00fc@example.com"))
    post.send(HELLO._replace(to="anna@ex\u00e4mple.com"))
    assert list(inbox.attempts) == ["anna@xn--exmple-cua.com"]


def test_a_server_that_is_away_is_an_error() -> None:
    with pytest.raises(OSError):
        mailer("smtp://localhost:1").send(HELLO)
    with pytest.raises(ConfigError, match=r"mail\.url is not set"):
        Mailer(None, "a@b", "").send(HELLO)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("to", "anna@example.com\r\nBcc: eve@evil.example"),
        ("to", "anna@example.com\nBcc: eve@evil.example"),
        ("to", "anna@example.com, eve@evil.example"),
        ("to", "anna@example.com>, <eve@evil.example"),
        ("to", "Anna <anna@example.com>"),
        ("to", "anna"),
        ("to", ""),
        ("to", "anna@"),
        ("to", "anna@exa mple.com"),
        ("subject", "Hello\r\nBcc: eve@evil.example"),
        ("subject", "Hello\nX: y"),
        ("subject", "Hello\r\n\r\nbody"),
        ("subject", "Hello\rX: y"),
    ],
)
def test_no_value_adds_a_header_or_a_recipient(field: str, value: str, start: Start) -> None:
    message = HELLO._replace(**{field: value})
    with pytest.raises(Invalid) as caught:
        message.build("sender@example.com")
    assert caught.value.code == "F631"
    inbox, port = start()
    with pytest.raises(Exception):  # noqa: B017  # whatever it is, nothing is sent
        mailer(f"smtp://localhost:{port}").send(message)
    assert not inbox.attempts


def test_a_text_cannot_end_the_message(start: Start) -> None:
    inbox, port = start()
    smuggled = "Hello\r\n.\r\nMAIL FROM:<eve@evil.example>\r\n\n.\nBcc: eve"
    mailer(f"smtp://localhost:{port}").send(HELLO._replace(text=smuggled, html=""))
    (mail,) = inbox.messages()
    assert mail.get_content().split() == smuggled.split() and mail["Bcc"] is None
    assert list(inbox.attempts) == [HELLO.to]


@pytest.mark.parametrize(
    "url",
    [
        "smtp://user:secret@localhost",
        "http://localhost",
        "smtp://localhost:x",
        "mail",
        "smtps://",
        "smtps://localhost?CA=/etc/ca.pem",
        "smtps://localhost?verify=no&ca=x",
        "smtp+starttls://user:12/secret@localhost",
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SMTPTransport(url)
    assert "secret" not in caught.value.message


def test_in_development_a_message_is_a_file(tmp_path: Path) -> None:
    Mailer(FileTransport(tmp_path / "mail"), "a@localhost", "").send(HELLO)
    assert b"Message-ID: <m1@localhost>" in (tmp_path / "mail" / "m1.eml").read_bytes()
