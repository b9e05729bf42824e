"""Signing in by email and password, the lost password, and how often either may be tried.

A cookie names a known device, and shows to which accounts it has signed in. Each account is a
signature over the device, the account and what is kept of its password: a new password makes every
device unknown, and no email can be read in the cookie.

A try is counted before the password is checked, in all of its buckets or in none, so parallel tries
are no way around. A correct password gives the try back, and counts as CORRECT. Nothing reveals
whether an email has an account.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from .. import db
from ..errors import NotFound, TooManyAttempts, Unauthenticated, Unavailable
from ..i18n import text
from ..lazy import lazy_pattern
from .accounts import SQL, User, as_id
from .accounts import find_user as find_account
from .credentials import digest, end_sessions, start_session
from .passwords import check_password, hash_password, is_outdated, place, verify_password

RESET = 3600.0  # seconds that a link for a new password is good
LINKS = 5  # made by an operator that are good at the same time
REMEMBERED = 30 * 86_400.0  # seconds that a network is known after a sign-in to an account


class Bucket(NamedTuple):
    """How often something may be tried: `free` times at once, then once in `every` seconds."""

    free: int
    every: float


ADDRESS = Bucket(30, 10)  # one network, whatever account
HERE = Bucket(5, 60)  # an account from one network, or from one known device
ACCOUNT = Bucket(30, 60)  # an account from all networks that are unknown to it
FIRST = Bucket(2, 600)  # an account from one unknown network when ACCOUNT is used up
EVERYONE = Bucket(50, 0.2)  # all accounts from unknown networks: beyond it, few tries may wait
CORRECT = Bucket(30, 10)  # correct passwords of an account, from anywhere
UNCOUNTED = Bucket(0, 0)
DEVICE = 365 * 86_400.0  # seconds that a browser keeps the cookie of a known device
DEVICE_ACCOUNTS = 5  # that a device is known for: the latest
_DEVICE = lazy_pattern(r"([\w-]{22})((?:\.[\w-]{22})*)")
_BUSY = "busy"  # stands for EVERYONE when that is used up


def sign_in(
    conn: psycopg.Connection[Any], email: str, password: str, lifetime: float, *,
    address: str = "", agent: str = "", before: str = "", device: str = "",
) -> str:  # fmt: skip
    """Returns the secret of a new session of `lifetime` seconds. conn: outside a transaction, so
    that no lock is held meanwhile. address, agent, before: as of `start_session`. device: the
    known device (`find_device`), "" for another one.

    Raises Unauthenticated F638 when email and password do not belong together, TooManyAttempts
    F637, Unavailable when too many sign in at once, and then the try does not count.
    """
    email = plain_email(email)
    account = digest(email).hex()
    known, correct = f"known {account} {address}", f"correct {account}"
    _check_room(conn, [correct])
    steps = [{f"address {address}": ADDRESS}, {f"here {account} {address}": HERE}]
    if not db.run(conn, SQL["is_known"], {"key": known}):
        steps.append({f"account {account}": ACCOUNT, f"first {account} {address}": FIRST})
        steps.append({"everyone": EVERYONE, _BUSY: UNCOUNTED})
    hurried = {f"first {account} {address}", _BUSY}
    taken = _count_device(conn, account, device) or _count(conn, steps, hurried)
    ((id, kept),) = db.run(conn, SQL["password"], {"email": email}) or [(None, None)]
    wrong = Unauthenticated(text("email or password is wrong"), code="F638")
    try:
        with place() if hurried & taken.keys() else nullcontext():
            if not verify_password(password, kept) or kept is None:
                raise wrong
    except Unavailable:
        _give_back(conn, taken)
        raise
    anew = hash_password(password) if is_outdated(kept) else ""
    with db.transaction(conn):
        # SAFETY: a new password, set meanwhile, ends all that an old one began.
        if not _holds(conn, id, kept):
            raise wrong
        if anew:
            db.run(conn, SQL["set_password"], {"user": id, "password": anew})
        _has_room(conn, correct, CORRECT)
        _give_back(conn, taken, all_of=HERE)
        db.run(conn, SQL["know"], {"key": known, "seconds": REMEMBERED})
        return start_session(conn, id, lifetime, address=address, agent=agent, before=before)


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
    conn: psycopg.Connection[Any], user: User, current: str, password: object, at_least: int
) -> None:
    """As `set_password`, for a signed-in user who knows the present one. Raises Unauthenticated
    F638, TooManyAttempts F637, Invalid F630.
    """
    correct = f"correct {user.id}"
    _check_room(conn, [correct])
    taken = _count(conn, [{f"change {user.id}": HERE}])
    rows = db.run(conn, SQL["password"], {"email": user.email})
    wrong = Unauthenticated(text("the current password is wrong"), code="F638")
    if not rows or not verify_password(current, rows[0][1]):
        raise wrong
    _has_room(conn, correct, CORRECT)
    _give_back(conn, taken, all_of=HERE)
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
    """Returns the secret of a link that sets a new password, once, within `lifetime` seconds.

    asked: requested on the web, as `count_reset` allows: all of these are good until one is used,
    so a stranger's requests do not end the owner's link. Of an operator's, the newest LINKS are.
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
    return User.of(rows[0])


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


def count_reset(conn: psycopg.Connection[Any], email: str, address: str, device: str = "") -> bool:
    """Count a request for a link. Returns whether to send one: not when the account's mailbox has
    just got as many as it may get. Any of these serves its owner, whoever requested it.

    address, device: as of `sign_in`. Raises TooManyAttempts F637.
    """
    account = digest(plain_email(email)).hex()
    steps = [{f"address {address}": ADDRESS}, {f"reset {account} {address}": HERE}]
    if not db.run(conn, SQL["is_known"], {"key": f"known {account} {address}"}):
        steps.append({f"reset {account}": HERE, _BUSY: UNCOUNTED})
    taken = _count_device(conn, f"reset {account}", device) or _count(conn, steps)
    return _BUSY not in taken


def find_user(conn: psycopg.Connection[Any], email: str) -> User:
    """Whose email it is, as somebody typed it; an id is none. Raises NotFound F633."""
    email = plain_email(email)
    if as_id(email) is not None:  # each of its spellings would be another bucket
        raise NotFound("an id is no email", code="F633")
    return find_account(conn, email)


def find_device(conn: psycopg.Connection[Any], secret: bytes, cookie: str, email: str) -> str:
    """Returns the device's id when it has signed in to the account of `email`, else ""."""
    id, signatures = _parse_device(cookie)
    expected = _sign_device(conn, secret, id, email) if signatures else ""
    return id if any(hmac.compare_digest(expected, one) for one in signatures) else ""


def remember_device(conn: psycopg.Connection[Any], secret: bytes, cookie: str, email: str) -> str:
    """Returns the cookie of a device that has just signed in to the account of `email`.

    cookie: the one that it sent, "" for none.
    """
    id, signatures = _parse_device(cookie)
    fresh = _sign_device(conn, secret, id, email)
    known = [fresh, *(one for one in signatures if one != fresh)]
    return ".".join([id, *known[:DEVICE_ACCOUNTS]])


def plain_email(email: str) -> str:
    """The one spelling of an email that is counted and looked up."""
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
    end_sessions(conn, user)


def _count_device(
    conn: psycopg.Connection[Any], account: str, device: str
) -> Mapping[str, Bucket] | None:
    """Count a try of a known device; None when there is none, or its bucket is used up: then it
    counts as a try of an unknown one.
    """
    try:
        return _count(conn, [{f"device {account} {device}": HERE}]) if device else None
    except TooManyAttempts:
        return None


def _count(
    conn: psycopg.Connection[Any],
    steps: Sequence[Mapping[str, Bucket]],
    hurried: Collection[str] = (),
) -> Mapping[str, Bucket]:
    """Count a try in one bucket of each step, the first that has room. Returns these.

    hurried: keys of buckets whose tries need a `place`. Raises TooManyAttempts F637 when a step has
    no room, Unavailable when there is no place. Then the try counts nowhere.
    """
    taken: dict[str, Bucket] = {}
    with db.transaction(conn):
        for step in steps:
            key = next((key for key, bucket in step.items() if _has_room(conn, key, bucket)), "")
            if not key:
                _check_room(conn, step, least=1)
            if key in hurried:
                with place():
                    pass
            taken[key] = step[key]
        db.run(conn, SQL["sweep"])
    return taken


def _check_room(conn: psycopg.Connection[Any], keys: Iterable[str], least: int = 0) -> None:
    """Raises TooManyAttempts F637 when none of the buckets has room, or `least` is 1."""
    ((wait,),) = db.run(conn, SQL["wait"], {"keys": list(keys)})
    if (seconds := max(least, int(wait or 0))) > 0:
        message = text("too many attempts; try again in {seconds} s", seconds=seconds)
        raise TooManyAttempts(message, retry_after=seconds)


def _has_room(conn: psycopg.Connection[Any], key: str, bucket: Bucket) -> bool:
    if bucket is UNCOUNTED:
        return True
    burst = bucket.every * (bucket.free - 1)
    return bool(db.run(conn, SQL["count"], {"key": key, "every": bucket.every, "burst": burst}))


def _give_back(
    conn: psycopg.Connection[Any], taken: Mapping[str, Bucket], all_of: Bucket | None = None
) -> None:
    """Take the try out of its buckets. all_of: the kind that is empty then."""
    seconds = [float(b.every * (b.free if b is all_of else 1)) for b in taken.values()]
    db.run(conn, SQL["give_back"], {"keys": list(taken), "seconds": seconds})


def _parse_device(cookie: str) -> tuple[str, list[str]]:
    """Its id, a new one for what is not such a cookie, and the signatures of its accounts."""
    found = _DEVICE.fullmatch(cookie) if cookie.isascii() else None
    if found is None:
        return secrets.token_urlsafe(16), []
    return found[1], found[2].split(".")[1:]


def _sign_device(conn: psycopg.Connection[Any], secret: bytes, id: str, email: str) -> str:
    email = plain_email(email)
    rows = db.run(conn, SQL["password"], {"email": email})
    key = hmac.digest(secret, b"device", "sha256")
    data = f"{id} {email} {rows[0][1] if rows else ''}".encode()
    return base64.urlsafe_b64encode(hmac.digest(key, data, "sha256")[:16]).decode().rstrip("=")
