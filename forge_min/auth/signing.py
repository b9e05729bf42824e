"""Sign-in by email and password, password resets, and the rate limits of both.

A cookie identifies a known device, and proves to which accounts it has signed in: for each account
it has a signature over the device, the account and the hash of its password. So a new password
makes every device unknown, and the cookie does not reveal an email.

An attempt is counted before the password is checked, in all of its buckets or in none, so parallel
attempts do not evade the limits. A correct password takes the attempt out again, and counts as
CORRECT. Nothing reveals whether an email has an account.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple
from uuid import UUID

from .. import db
from ..errors import NotFound, TooManyAttempts, Unauthenticated, Unavailable
from ..i18n import text
from ..lazy import lazy_pattern
from .accounts import Connection, User, as_id, execute
from .accounts import find_user as find_account
from .credentials import Browser, digest, end_sessions, start_session
from .passwords import check_password, hash_password, is_outdated, network_slot, verify_password

RESET = 3600.0  # seconds that a reset link is valid
LINKS = 5  # reset links of an operator that are valid at the same time
REMEMBERED = 30 * 86_400.0  # seconds that a network is known after a sign-in to an account


class Bucket(NamedTuple):
    """A limit of attempts: `free` at once, then one in `every` seconds."""

    free: int
    every: float


ADDRESS = Bucket(30, 10)  # one network, any account
HERE = Bucket(5, 60)  # an account from one network, or from one known device
ACCOUNT = Bucket(30, 60)  # an account from all networks that are unknown to it
FIRST = Bucket(2, 600)  # an account from one unknown network when ACCOUNT is used up
EVERYONE = Bucket(50, 0.2)  # all accounts from unknown networks: beyond it, few attempts may wait
CORRECT = Bucket(30, 10)  # correct passwords of an account, from anywhere
UNCOUNTED = Bucket(0, 0)
DEVICE = 365 * 86_400.0  # seconds that a browser keeps the cookie of a known device
DEVICE_ACCOUNTS = 5  # the latest accounts for which a device is known
_DEVICE = lazy_pattern(r"([\w-]{22})((?:\.[\w-]{22})*)")
_BUSY = "busy"  # replaces EVERYONE when that is used up


def sign_in(
    conn: Connection, email: str, password: str, lifetime: float, browser: Browser, device: str = ""
) -> str:
    """Start a session. Returns its secret.

    conn: outside a transaction, so that no lock is held while the password is checked.
    lifetime: of the session, in seconds.
    device: the known device (`find_device`), "" for an unknown one.

    Raises Unauthenticated F638 if email and password do not match, TooManyAttempts F637, and
    Unavailable if too many sign in at once; that attempt does not count.
    """
    email = plain_email(email)
    address = browser.address
    account = digest(email).hex()
    source = f"{account} {address}"
    network_key = f"known {source}"
    correct = f"correct {account}"
    _check_limits(conn, [correct])
    steps = [{f"address {address}": ADDRESS}, {f"here {source}": HERE}]
    first = f"first {source}"
    if not execute(conn, "is_known", key=network_key):
        steps.append({f"account {account}": ACCOUNT, first: FIRST})
        steps.append({"everyone": EVERYONE, _BUSY: UNCOUNTED})
    limited = {first, _BUSY}
    taken = _count_device(conn, account, device) or _count(conn, steps, limited)
    rows = execute(conn, "password", email=email) or [(None, None)]
    id, stored = rows[0]
    wrong = Unauthenticated(text("email or password is wrong"), code="F638")
    slot: AbstractContextManager[None] = nullcontext()
    if not limited.isdisjoint(taken):
        slot = network_slot()
    try:
        with slot:
            is_correct = verify_password(password, stored)
    except Unavailable:
        _uncount(conn, taken)
        raise
    if stored is None or not is_correct:
        key = f"failed {account}"
        execute(conn, "record_failure", key=key, email=email, address=address)
        raise wrong
    replacement = ""
    if is_outdated(stored):
        replacement = hash_password(password)
    with db.transaction(conn):
        # SAFETY: no session may start with a password that has been replaced since it was read.
        if not _lock_password(conn, id, stored):
            raise wrong
        if replacement:
            execute(conn, "set_password", user=id, password=replacement)
        _take(conn, correct, CORRECT)
        _uncount(conn, taken, all_of=HERE)
        execute(conn, "know", key=network_key, seconds=REMEMBERED)
        return start_session(conn, id, lifetime, browser)


def set_password(conn: Connection, user: User, password: object, min_length: int) -> None:
    """Set a new password, and end all sessions and reset links of the user.

    min_length: its characters.

    Raises Invalid F630 for a password that breaks the rules.
    """
    hashed = _checked_hash(user, password, min_length)
    with db.transaction(conn):
        _set(conn, user.id, hashed)


def change_password(
    conn: Connection, user: User, current: str, password: object, min_length: int
) -> None:
    """Set a new password for a signed-in user, as `set_password`, after checking the current one.

    Raises Unauthenticated F638 for a wrong one, TooManyAttempts F637, Invalid F630.
    """
    correct = f"correct {user.id}"
    _check_limits(conn, [correct])
    taken = _count(conn, [{f"change {user.id}": HERE}])
    rows = execute(conn, "password", email=user.email)
    wrong = Unauthenticated(text("the current password is wrong"), code="F638")
    if not rows:
        raise wrong
    stored = rows[0][1]
    if not verify_password(current, stored):
        raise wrong
    _take(conn, correct, CORRECT)
    _uncount(conn, taken, all_of=HERE)
    hashed = _checked_hash(user, password, min_length)
    with db.transaction(conn):
        if not _lock_password(conn, user.id, stored):
            raise wrong
        _set(conn, user.id, hashed)


def set_disabled(conn: Connection, user: UUID, disabled: bool) -> None:
    """Disable or enable an account.

    A disabled account cannot be identified. Its sessions and reset links are deleted; its keys and
    roles stay, and are valid again when it is enabled.
    """
    # SAFETY: the account first, which a concurrent sign-in locks, then the session of that sign-in.
    execute(conn, "set_disabled", user=user, disabled=disabled)
    if disabled:
        _end_all(conn, user)


def create_reset(
    conn: Connection,
    user: UUID,
    *,
    requested: bool = False,
    joins: str = "",
    lifetime: float = RESET,
) -> str:
    """Create a link that sets a new password once. Returns its secret.

    requested: by a client, as `count_reset` permits: all such links are valid until one is used, so
        the requests of a stranger do not end the link of the owner. Of the others, which operators
        create, the newest LINKS are valid.
    joins: the id of a tenant, the author of the invitation, and roles, separated by spaces. With
        the password the user gets the roles in the tenant.
    lifetime: seconds that it is valid.
    """
    secret = secrets.token_urlsafe(32)
    execute(
        conn,
        "create_reset",
        user=user,
        key=digest(secret),
        seconds=lifetime,
        joins=joins,
        asked=requested,
        others=LINKS - 1,
    )
    return secret


def find_reset(conn: Connection, secret: str) -> User:
    """Return the user of a link. Raises Unauthenticated F638 if it is used, expired or unknown."""
    rows = execute(conn, "by_reset", key=digest(secret))
    if not rows:
        raise Unauthenticated(text("this link is used, expired or unknown"), code="F638")
    return User(*rows[0])


def use_reset(conn: Connection, secret: str, password: object, min_length: int) -> User:
    """Set a new password by a link, and end all links of the user. Returns the user.

    By the link of an invitation the user becomes a member of its tenant.

    Raises as `find_reset`, and Invalid F630, after which the link is still valid.
    """
    user = find_reset(conn, secret)
    hashed = _checked_hash(user, password, min_length)
    with db.transaction(conn):
        find_reset(conn, secret)  # again, because another request may have used it
        execute(conn, "join", key=digest(secret))
        _set(conn, user.id, hashed)
    return user


def count_reset(conn: Connection, email: str, address: str, device: str = "") -> bool:
    """Count a request for a reset link. Returns whether to send one.

    It returns False if the mailbox of the account has just received the permitted number of links;
    any of these is valid, no matter which client requested it.

    address: of the client.
    device: as in `sign_in`.

    Raises TooManyAttempts F637.
    """
    account = digest(plain_email(email)).hex()
    source = f"{account} {address}"
    reset = f"reset {account}"
    steps = [{f"address {address}": ADDRESS}, {f"reset {source}": HERE}]
    is_known = execute(conn, "is_known", key=f"known {source}")
    if not is_known:
        steps.append({reset: HERE, _BUSY: UNCOUNTED})
    taken = _count_device(conn, reset, device) or _count(conn, steps)
    return _BUSY not in taken


def find_user(conn: Connection, email: str) -> User:
    """Return the user of an email as it was entered; ids are not accepted. Raises NotFound F633."""
    email = plain_email(email)
    if as_id(email) is not None:  # each of its spellings would be another bucket
        raise NotFound("an id is not an email", code="F633")
    return find_account(conn, email)


def forget_attempts(conn: Connection, email: str) -> None:
    """Delete the counted sign-ins of an account, which limit further ones."""
    account = digest(plain_email(email)).hex()
    execute(conn, "forget_attempts", account=account)


def find_device(conn: Connection, secret: bytes, cookie: str, email: str) -> str:
    """Return the id of a device that has signed in to the account of `email`, else ""."""
    id, signatures = _parse_device(cookie)
    if not signatures:
        return ""
    expected = _sign_device(conn, secret, id, email)
    for signature in signatures:
        if hmac.compare_digest(expected, signature):
            return id
    return ""


def remember_device(conn: Connection, secret: bytes, cookie: str, email: str) -> str:
    """Return the cookie for a device that has just signed in to the account of `email`.

    cookie: the previous cookie of the device, "" if it has none.
    """
    id, signatures = _parse_device(cookie)
    latest = _sign_device(conn, secret, id, email)
    others = [signature for signature in signatures if signature != latest]
    signatures = [latest, *others]
    return ".".join([id, *signatures[:DEVICE_ACCOUNTS]])


def plain_email(email: str) -> str:
    """Return the normalised spelling of an email, which is counted and looked up."""
    return email.replace("\0", "").strip().lower()[:254]


def _lock_password(conn: Connection, user: UUID, stored: str) -> bool:
    """Lock the account until the end of the transaction. Returns whether it has this hash."""
    rows = execute(conn, "hold_password", user=user, kept=stored)
    return bool(rows)


def _checked_hash(user: User, password: object, min_length: int) -> str:
    """Return the hash of a new password. Raises Invalid F630."""
    checked = check_password(password, min_length=min_length, beside=user.email)
    return hash_password(checked)


def _set(conn: Connection, user: UUID, hashed: str) -> None:
    execute(conn, "set_password", user=user, password=hashed)
    _end_all(conn, user)


def _end_all(conn: Connection, user: UUID) -> None:
    """End the reset links and sessions of a user."""
    execute(conn, "end_resets", user=user)
    end_sessions(conn, user)


def _count_device(conn: Connection, account: str, device: str) -> Mapping[str, Bucket] | None:
    """Count an attempt of a known device.

    Returns None for an unknown device, or if its bucket is used up: then the attempt counts as
    that of an unknown device.
    """
    if not device:
        return None
    try:
        return _count(conn, [{f"device {account} {device}": HERE}])
    except TooManyAttempts:
        return None


def _count(
    conn: Connection, steps: Sequence[Mapping[str, Bucket]], limited: Collection[str] = ()
) -> Mapping[str, Bucket]:
    """Count an attempt in one bucket of each step, the first with capacity. Returns these buckets.

    limited: keys of buckets that need a `network_slot`.

    Raises TooManyAttempts F637 if no bucket of a step has capacity, Unavailable if all slots are
    taken. Then the attempt counts nowhere.
    """
    taken = {}
    with db.transaction(conn):
        for step in steps:
            for key, bucket in step.items():
                if _take(conn, key, bucket):
                    break
            else:
                _check_limits(conn, step, least=1)
            if key in limited:
                with network_slot():
                    pass
            taken[key] = bucket
        execute(conn, "sweep")
    return taken


def _check_limits(conn: Connection, keys: Iterable[str], least: int = 0) -> None:
    """Raise TooManyAttempts F637 if no bucket has capacity, or if `least` is 1."""
    ((wait,),) = execute(conn, "wait", keys=list(keys))
    seconds = max(least, int(wait or 0))
    if seconds > 0:
        message = text("too many attempts; try again in {seconds} s", seconds=seconds)
        raise TooManyAttempts(message, retry_after=seconds)


def _take(conn: Connection, key: str, bucket: Bucket) -> bool:
    if bucket is UNCOUNTED:
        return True
    burst = bucket.every * (bucket.free - 1)
    rows = execute(conn, "count", key=key, every=bucket.every, burst=burst)
    return bool(rows)


def _uncount(conn: Connection, taken: Mapping[str, Bucket], all_of: Bucket | None = None) -> None:
    """Take an attempt out of its buckets; `all_of` is the kind to reset."""
    seconds = []
    for bucket in taken.values():
        attempts = 1
        if bucket is all_of:
            attempts = bucket.free
        seconds.append(float(bucket.every * attempts))
    execute(conn, "give_back", keys=list(taken), seconds=seconds)


def _parse_device(cookie: str) -> tuple[str, list[str]]:
    """Return the id and signatures of a cookie; a new id for a malformed cookie."""
    match = _DEVICE.fullmatch(cookie)
    if match is None or not cookie.isascii():
        return secrets.token_urlsafe(16), []
    signatures = match[2].split(".")
    return match[1], signatures[1:]


def _sign_device(conn: Connection, secret: bytes, id: str, email: str) -> str:
    email = plain_email(email)
    rows = execute(conn, "password", email=email)
    stored = ""
    if rows:
        stored = rows[0][1]
    key = hmac.digest(secret, b"device", "sha256")
    data = f"{id} {email} {stored}".encode()
    signature = hmac.digest(key, data, "sha256")[:16]
    return base64.urlsafe_b64encode(signature).decode().rstrip("=")
