"""Entries of the history as sentences: changes of rows, and those of users, tenants and keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ..auth import SYSTEM, accounts, administration, as_identity
from ..i18n import gettext_noop, text
from ..lazy import lazy_pattern
from ..wsgi import Raw, escape, join, show_time, tag

_NAME = lazy_pattern(r"\{(\w+)\}")
_CREATED = gettext_noop("{user} created the account, {when}")
_SET = gettext_noop("{user} set a new password, {when}")
_REVOKED = gettext_noop("{user} revoked the key {before}, {when}")
_SENTENCES = {
    "name": gettext_noop("{user} created {after}, {when}"),  # a tenant
    "roles": gettext_noop("{user} changed the roles from {before} to {after}, {when}"),
    "disabled": gettext_noop("{user} changed the account from {before} to {after}, {when}"),
    "password": gettext_noop("{user} created a link for a new password, {when}"),
    "sessions": gettext_noop("{user} ended sessions, {when}"),
    "locked": gettext_noop("{user} unlocked the account, {when}"),
    "key": gettext_noop("{user} created the key {after}, {when}"),
    "sign_in": gettext_noop("{user} signed in from {after}, {when}"),
    "failed_sign_in": gettext_noop("Failed sign-in from {after}, {when}"),
    "sign_out": gettext_noop("{user} ended the session from {before}, {when}"),
    "export": gettext_noop("{user} exported {after}, {when}"),
}
_IN_TENANT = gettext_noop("{user} changed the roles in {tenant} from {before} to {after}, {when}")


def sentence(message: str, change: Any, values: Mapping[str, str]) -> Raw:
    """Return a message about a change as HTML.

    message: of a table; {user} is the author of the change, as far as the reader may know it.
    values: of the other names in the message, texts or HTML.
    """
    author = change.actor_name or change.actor_email or change.actor or text("the system")
    parts = {"user": tag("b", author), "when": _ago(change.at), **values}
    return Raw(_NAME.sub(lambda match: join([parts[match[1]]]), escape(text(message))))


def _ago(moment: datetime) -> Raw:
    """Return a time as <time>: "5 minutes ago" of the last days, else the date."""
    date = show_time(moment)
    age = date
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if seconds < 60:
        age = text("just now")
    elif seconds < 3600:
        age = text("{n} min ago", n=int(seconds // 60))
    elif seconds < 86400:
        age = text("{n} h ago", n=int(seconds // 3600))
    exact = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return tag("time", age, datetime=exact, title=date)


# -- users, tenants and keys -----------------------------------------------------------------------


def account_sentence(change: administration.AccountChange) -> Raw:
    """Return a change as HTML."""
    values = {}
    message = _CREATED
    for name, (before, after) in change.changes.items():
        kind, _, tenant = name.partition(":")
        message = _SENTENCES.get(kind, _CREATED)
        if kind == "roles" and tenant:
            message = _IN_TENANT
        elif kind == "password" and after == "set":
            message = _SET
        elif kind == "key" and not after:
            message = _REVOKED
        values["tenant"] = tenant
        values["before"] = tag("del", _value_text(before))
        values["after"] = tag("ins", _value_text(after))
    return sentence(message, change, values)


def own_sentences(conn: accounts.Connection, user: UUID) -> list[Raw]:
    """Return the history of a user's own account. Administrators are not named to users."""
    with as_identity(SYSTEM):
        changes = administration.Administrator(conn).history(user)
    return [account_sentence(change) for change in changes if change.actor in ("", str(user))]


def account_state(disabled: bool) -> str:
    """Return the state of an account."""
    if disabled:
        return text("deactivated")
    return text("active")


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return account_state(value)
    if isinstance(value, list) and value:
        return ", ".join(value)
    return str(value or "–")
