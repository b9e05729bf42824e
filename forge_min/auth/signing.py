"""Signing in by email and password, the lost password, and how often either may be tried.

Tries are counted before a password is looked at, so many at once are no way around; what is right
gives the tries back. Nothing tells whether an email has an account.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from .. import db
from ..errors import NotFound, TooManyAttempts, Unauthenticated
from ..text import text
from . import sessions
from .accounts import SQL, User, as_id
from .accounts import find_user as find_account
from .keys import digest
from .passwords import check_password, hash_password, is_outdated, verify_password

RESET = 3600.0  # seconds that a link for a new password is good
LINKS = 5  # of a user that are good at the same time


class Bucket(NamedTuple):
    """How often something may be tried: `free` times at once, then once in `every` seconds."""

    free: int
    every: float


HERE = Bucket(5, 60)  # an account from one address
ACCOUNT = Bucket(30, 60)  # an account from everywhere: who is locked out by others waits a minute
ADDRESS = Bucket(30, 10)  # one address, whatever account


def sign_in(
    conn: psycopg.Connection[Any], email: str, password: str, lifetime: float, *,
    address: str = "", agent: str = "", before: str = "",
) -> str:  # fmt: skip
    """The secret of a new session of `lifetime` seconds. address, agent, before: as of
    `sessions.start`. conn: outside a transaction, so that nobody waits for a lock meanwhile.

    Raises Unauthenticated F638 where email and password do not belong together, TooManyAttempts
    F637, Unavailable where too many sign in at once.
    """
    email = _plain(email)
    account = digest(email).hex()
    mine = _buckets(account, address)
    shared = f"address {address}"
    _attempt(conn, mine | {shared: ADDRESS})
    ((id, kept),) = db.run(conn, SQL["password"], {"email": email}) or [(None, None)]
    wrong = Unauthenticated(text("email or password is wrong"), code="F638")
    if not verify_password(password, kept) or kept is None:
        raise wrong
    anew = hash_password(password) if is_outdated(kept) else ""
    with db.transaction(conn):
        # SAFETY: a new password, set meanwhile, ends all that an old one began.
        if not _holds(conn, id, kept):
            raise wrong
        if anew:
            db.run(conn, SQL["set_password"], {"user": id, "password": anew})
        tried = {"keys": list(mine), "address": shared, "every": ADDRESS.every}
        db.run(conn, SQL["forget_attempts"], tried)
        return sessions.start(conn, id, lifetime, address=address, agent=agent, before=before)


def set_password(
    conn: psycopg.Connection[Any], user: User, password: object, at_least: int
) -> None:
    """A new password of at least so many characters; it ends all sessions and every link for
    another. Raises Invalid F630.
    """
    checked = check_password(password, at_least=at_least, beside=user.email)
    hashed = hash_password(checked)
    with db.transaction(conn):
        _set(conn, user.id, hashed)


def change_password(
    conn: psycopg.Connection[Any], user: User, current: str, password: object, at_least: int,
    *, address: str = "",
) -> None:  # fmt: skip
    """As `set_password`, for somebody who knows the present one. Raises Unauthenticated F638,
    TooManyAttempts F637, Invalid F630.
    """
    mine = _buckets(digest(user.email).hex(), address)
    _attempt(conn, mine)
    rows = db.run(conn, SQL["password"], {"email": user.email})
    wrong = Unauthenticated(text("the current password is wrong"), code="F638")
    if not rows or not verify_password(current, rows[0][1]):
        raise wrong
    # Of an address none was counted.
    db.run(conn, SQL["forget_attempts"], {"keys": list(mine), "address": "", "every": 0})
    hashed = hash_password(check_password(password, at_least=at_least, beside=user.email))
    with db.transaction(conn):
        if not _holds(conn, user.id, rows[0][1]):
            raise wrong
        _set(conn, user.id, hashed)


def set_disabled(conn: psycopg.Connection[Any], user: UUID, disabled: bool) -> None:
    """Disable an account: nothing identifies it any more, and its sessions and reset links are
    deleted. Its keys and roles stay, and work again once it is enabled.
    """
    # SAFETY: first the account, which a concurrent sign-in locks, then the session that it began.
    db.run(conn, SQL["set_disabled"], {"user": user, "disabled": disabled})
    if disabled:
        _end_all(conn, user)


def create_reset(
    conn: psycopg.Connection[Any], user: UUID, lifetime: float = RESET, *, asked: bool = False
) -> str:
    """The secret of a link that sets a new password, once, within `lifetime` seconds. The user's
    newest LINKS are good, until one is used. asked: for by somebody on the web; counted apart, or
    who asks often would end an operator's.
    """
    secret = secrets.token_urlsafe(32)
    params = {
        "user": user, "key": digest(secret), "seconds": lifetime, "asked": asked,
        "others": LINKS - 1,
    }  # fmt: skip
    db.run(conn, SQL["create_reset"], params)
    return secret


def find_reset(conn: psycopg.Connection[Any], secret: str) -> User:
    """Whose link it is. Raises Unauthenticated F638 for one that is used, too old or unknown."""
    rows = db.run(conn, SQL["by_reset"], {"key": digest(secret)})
    if not rows:
        raise Unauthenticated(text("this link is used, too old or unknown"), code="F638")
    id, email, name, roles, *rest = rows[0]
    return User(id, email, name, tuple(roles), *rest)


def use_reset(conn: psycopg.Connection[Any], secret: str, password: object, at_least: int) -> User:
    """Set a new password by a link, which ends with all others of the user; whose it is. Raises as
    `find_reset`, and Invalid F630, after which the link is still good.
    """
    user = find_reset(conn, secret)
    hashed = hash_password(check_password(password, at_least=at_least, beside=user.email))
    with db.transaction(conn):
        find_reset(conn, secret)  # nobody has used it meanwhile
        _set(conn, user.id, hashed)
    return user


def count_reset(conn: psycopg.Connection[Any], email: str, address: str) -> None:
    """Count that somebody asks for a link. Raises TooManyAttempts F637."""
    account = digest(_plain(email)).hex()
    _attempt(conn, {f"reset {account}": HERE, f"address {address}": ADDRESS})


def find_user(conn: psycopg.Connection[Any], email: str) -> User:
    """Whose email it is, as somebody typed it; an id is none. Raises NotFound F633."""
    email = _plain(email)
    if as_id(email) is not None:  # each of its spellings would be another bucket
        raise NotFound("an id is no email", code="F633")
    return find_account(conn, email)


def _plain(email: str) -> str:
    return email.replace("\0", "").strip().lower()[:254]


def _holds(conn: psycopg.Connection[Any], user: UUID, kept: str) -> bool:
    """Whether the password that was read is the user's, until the transaction is over."""
    return bool(db.run(conn, SQL["hold_password"], {"user": user, "kept": kept}))


def _set(conn: psycopg.Connection[Any], user: UUID, hashed: str) -> None:
    db.run(conn, SQL["set_password"], {"user": user, "password": hashed})
    _end_all(conn, user)


def _end_all(conn: psycopg.Connection[Any], user: UUID) -> None:
    """The reset links and the sessions of a user."""
    db.run(conn, SQL["end_resets"], {"user": user})
    sessions.end(conn, user)


def _buckets(account: str, address: str) -> dict[str, Bucket]:
    """Those of one account: from one address, and from anywhere."""
    return {f"here {account} {address}": HERE, f"account {account}": ACCOUNT}


def _attempt(conn: psycopg.Connection[Any], buckets: dict[str, Bucket]) -> None:
    params = {
        "keys": list(buckets),
        "every": [bucket.every for bucket in buckets.values()],
        "burst": [bucket.every * (bucket.free - 1) for bucket in buckets.values()],
    }
    rows = db.run(conn, SQL["attempt"], params)
    refused: Sequence[str] = sorted(buckets.keys() - {key for (key,) in rows})
    if refused:
        ((wait,),) = db.run(conn, SQL["wait"], {"keys": list(refused)})
        seconds = max(1, int(wait or 1))
        message = text("too many attempts; try again in {seconds} s", seconds=seconds)
        raise TooManyAttempts(message, retry_after=seconds)
