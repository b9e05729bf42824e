"""Mails of accounts: links for a new password, invitations, and keys.

They are sent by a job, so a request for a link takes the same time whether an account exists or
not. Only the job knows the secret; forge_job does not contain it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

from ... import db, jobs
from ...auth import accounts, administration, credentials, signing
from ...errors import Forbidden, NotFound
from ...i18n import current_language, in_language, text
from ...mail import Mailer, Message
from ..templates import WORDS, mail, mail_text

PREFIX = "/account"


class AccountLinks:
    """How the application sends links of accounts.

    sender: the function of app.py (user, path of a page that sets a new password once), if any;
        else they are sent by mail.
    project: the name of the application.
    """

    def __init__(self, mailer: Mailer, project: str, sender: Callable[..., object] | None) -> None:
        self._mailer = mailer
        self._project = project
        self._sender = sender

    @property
    def is_configured(self) -> bool:
        """Whether links can be sent."""
        return self._sender is not None or self._mailer.is_configured

    def request(
        self,
        root: str,
        conn: accounts.Connection,
        email: str,
        invites: bool,
        joins: str = "",
        key: Mapping[str, object] | None = None,
    ) -> None:
        """Insert the job that sends a link, or a new key, if the email has an account.

        root: of the pages, "/t/acme".
        invites: whether it is an invitation, else for a new password.
        joins: as in `signing.create_reset`.
        key: the options of `credentials.create_key`; the job creates the key.

        Raises Invalid F631 for an invitation to an address to which no mail can be sent, Forbidden
        for a key without mail.
        """
        args: dict[str, Any] = {"id": str(uuid4()), "root": root, "language": current_language()}
        args["email"] = signing.plain_email(email)
        args["invites"] = invites
        args["joins"] = joins
        if key is not None:
            args["key"] = key
            if not self._mailer.is_configured:
                command = f"auth create-key {email}"
                raise Forbidden(text("only an operator may do this: {command}", command=command))
        if invites:
            Message("", email, "", "").build("sender@example.com")
        jobs.insert_tx(conn, SendAccountLinks, args)

    def send(self, conn: accounts.Connection, args: dict[str, Any]) -> None:
        """Send a link. args: those of the job."""
        try:
            user = signing.find_user(conn, args["email"])
        except NotFound:
            return
        if user.disabled:
            return
        if "key" in args:
            self._send_key(conn, user, args)
            return
        invites = args["invites"]
        lifetime = signing.RESET
        if invites:
            lifetime = administration.INVITATION
        secret = signing.create_reset(
            conn,
            user.id,
            requested=not invites,
            joins=args.get("joins", ""),  # jobs of the previous release have none
            lifetime=lifetime,
        )
        path = reset_path(secret)
        if self._sender is not None:
            self._sender(user, path)
            return
        with in_language(user.language or args["language"]):
            subject = text("A new password for {project}", project=self._project)
            reason = text("A new password was requested for {email}.", email=user.email)
            valid = text("The link is valid once, within an hour.")
            if invites:
                subject = text("Your account at {project}", project=self._project)
                reason = text("An administrator invites {email}.", email=user.email)
                valid = text("The link is valid once, within 7 days.")
            url = self._mailer.site + args["root"] + path
            context = {"title": subject, "reason": reason, "url": url, "valid": valid}
            body = mail_text.render(words=WORDS, **context)
            document = mail.render(words=WORDS, **context)
            self._mailer.send(Message(args["id"], user.email, subject, body, document))

    def _send_key(
        self, conn: accounts.Connection, user: accounts.User, args: dict[str, Any]
    ) -> None:
        """Create a key and send it; without the mail there is no key."""
        with db.transaction(conn), in_language(user.language or args["language"]):
            key = credentials.create_key(conn, user.id, **args["key"])
            subject = text("A new API key for {project}", project=self._project)
            body = text(
                "An administrator created this key for {email}:\n\n{key}\n\n"
                "Keep it secret: it acts for your account, which lists and revokes it.",
                email=user.email,
                key=key,
            )
            self._mailer.send(Message(args["id"], user.email, subject, body))


class SendAccountLinks:
    """Sends a link of an account."""

    kind = "forge_account_link"
    timeout = 300.0

    def __init__(self, forge_account_links: AccountLinks) -> None:
        self._links = forge_account_links

    def work(self, job: jobs.Job) -> None:
        """Send it. Raises as `Mailer.send`, and the errors of the project's function."""
        self._links.send(job.conn, job.raw_args)


def reset_path(secret: str) -> str:
    """Return the path of the page that sets a new password with this secret."""
    return f"{PREFIX}/reset?{urlencode({'key': secret}, quote_via=quote)}"
