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
_STATES = {False: gettext_noop("active"), True: gettext_noop("deactivated")}


def sentence(message: str, parts: Mapping[str, str]) -> Raw:
    """Return a message of a table as HTML. parts: its values, texts or HTML."""
    return Raw(_NAME.sub(lambda match: join([parts[match[1]]]), escape(text(message))))


def actor_of(entry: Any) -> str:
    """Return the author of a change, as far as the user may know it."""
    return entry.actor_name or entry.actor_email or entry.actor or text("the system")


def ago(moment: datetime) -> Raw:
    """Return a time as <time>: "5 minutes ago" of the last days, else the date."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if seconds < 60:
        shown = text("just now")
    elif seconds < 3600:
        shown = text("{n} min ago", n=int(seconds // 60))
    elif seconds < 86400:
        shown = text("{n} h ago", n=int(seconds // 3600))
    else:
        shown = show_time(moment)
    exact = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return tag("time", shown, datetime=exact, title=show_time(moment))


# -- users, tenants and keys -----------------------------------------------------------------------


def account_sentence(change: administration.AccountChange) -> Raw:
    """Return a change as HTML."""
    parts: dict[str, str] = {"user": tag("b", actor_of(change)), "when": ago(change.at)}
    message = _CREATED
    for name, (before, after) in change.changes.items():
        kind, _, parts["tenant"] = name.partition(":")
        message = _SENTENCES.get(kind, _CREATED)
        if kind == "roles" and parts["tenant"]:
            message = _IN_TENANT
        elif kind == "password" and after == "set":
            message = _SET
        elif kind == "key" and not after:
            message = _REVOKED
        parts["before"] = tag("del", _value_text(before))
        parts["after"] = tag("ins", _value_text(after))
    return sentence(message, parts)


def own_sentences(conn: accounts.Connection, user: UUID) -> list[Raw]:
    """Return the history of a user's own account. Administrators are not named to users."""
    with as_identity(SYSTEM):
        changes = administration.Administrator(conn).history(user)
    return [account_sentence(change) for change in changes if change.actor in ("", str(user))]


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return text(_STATES[value])
    if isinstance(value, list) and value:
        return ", ".join(value)
    return str(value or "–")
