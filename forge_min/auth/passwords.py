"""Passwords: the rules for a new one, and their hashes.

The hash is a PHC string of scrypt (RFC 7914), "$scrypt$ln=15,r=8,p=1$salt$hash". Its costs follow
OWASP (Password Storage Cheat Sheet): 32 MiB and some 60 ms for each attempt.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ..errors import FieldError, Invalid, Unavailable
from ..i18n import text
from ..lazy import lazy_pattern

LONGEST = 1_024  # characters
WAIT = 5.0  # seconds that an attempt waits to be hashed
_MIN_DISTINCT = 5  # characters
_HASHING = threading.BoundedSemaphore(2)  # LOCK: limits how many use 32 MiB at the same time
_NEXT = threading.Lock()  # LOCK: held by the next to enter _HASHING, so that none overtakes it
_UNKNOWN = threading.BoundedSemaphore(3)  # LOCK: limits how many unknown networks hash or wait
_STORED = lazy_pattern(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
_ROWS = ("abcdefghijklmnopqrstuvwxyz", "0123456789", "qwertzuiopasdfghjkl", "qwertyuiopasdf")
_WORDS = frozenset(("password", "passwort", "passw0rd", "welcome", "letmein", "changeme", "admin"))


class Costs(NamedTuple):
    """The costs of scrypt (RFC 7914 section 2).

    log2n: n = 2 ** log2n.
    """

    log2n: int = 15
    r: int = 8
    p: int = 1


COSTS = Costs()


def check_password(password: object, *, min_length: int, beside: str = "") -> str:
    """Return the password if it follows the rules.

    NIST SP 800-63B section 5.1.1.2 requires any characters, a length, and nothing that is guessed
    first.

    min_length: characters.
    beside: the user's email; its parts are not allowed as passwords.

    Raises Invalid F630 with the pointer /password.
    """
    why = None
    if not isinstance(password, str) or "\0" in password:
        why = text("must be text without null characters")
    elif len(password) < min_length:
        why = text("must have {min} or more characters", min=min_length)
    elif len(password) > LONGEST:
        why = text("must have at most {max} characters", max=LONGEST)
    elif _is_guessed(password.casefold(), beside.casefold()):
        why = text("is too easy to guess")
    if why is not None:
        error = FieldError("/password", "bad_password", why)
        raise Invalid([error], f"password {why}", code="F630")
    return str(password)


def hash_password(password: str, costs: Costs = COSTS) -> str:
    """Return a hash, with a new salt each time. Raises Unavailable as `verify_password`."""
    salt = os.urandom(16)
    derived = _derive(password, salt, costs)
    return _format(costs, salt, derived)


def verify_password(password: str, stored: str | None) -> bool:
    """Whether `stored` is a hash of the password.

    Without a hash it takes equally long, so the time does not reveal whether an email has an
    account. Raises Unavailable after waiting for WAIT seconds.
    """
    match = _STORED.fullmatch(stored or _NO_ACCOUNT)
    if match is None or len(password) > LONGEST:
        return False
    salt = _decode(match[4])
    derived = _derive(password, salt, _costs_of(match))
    is_same = hmac.compare_digest(derived, _decode(match[5]))
    return is_same and stored is not None


def is_outdated(stored: str) -> bool:
    """Whether a hash has other costs than COSTS, so that it must be replaced at a sign-in."""
    match = _STORED.fullmatch(stored)
    return match is None or _costs_of(match) != COSTS


def _costs_of(match: re.Match[str]) -> Costs:
    log2n, r, p = match.group(1, 2, 3)
    return Costs(int(log2n), int(r), int(p))


@contextmanager
def network_slot() -> Iterator[None]:
    """Hold one of the few slots for attempts from unknown networks.

    Raises Unavailable at once if all are taken, so that a flood of such attempts does not occupy
    the threads that serve other requests.
    """
    if not _UNKNOWN.acquire(blocking=False):
        raise Unavailable("too many sign in at once", code="F637")
    try:
        yield
    finally:
        _UNKNOWN.release()


@contextmanager
def _hashing_slot() -> Iterator[None]:
    is_next = _NEXT.acquire(timeout=WAIT)
    try:
        if not is_next or not _HASHING.acquire(timeout=WAIT):
            raise Unavailable("too many sign in at once", code="F637", retry_after=int(WAIT))
    finally:
        if is_next:
            _NEXT.release()
    try:
        yield
    finally:
        _HASHING.release()


def _derive(password: str, salt: bytes, costs: Costs) -> bytes:
    n = 1 << costs.log2n
    secret = password.encode("utf-8", "surrogatepass")
    blocks = n + costs.p + 2
    memory = 128 * costs.r * blocks + (1 << 20)  # RFC 7914 section 2, and a margin
    with _hashing_slot():
        return hashlib.scrypt(secret, salt=salt, n=n, r=costs.r, p=costs.p, maxmem=memory, dklen=32)


def _format(costs: Costs, salt: bytes, derived: bytes) -> str:
    prefix = "$scrypt$ln={},r={},p={}".format(*costs)
    return f"{prefix}${_encode(salt)}${_encode(derived)}"


def _encode(part: bytes) -> str:
    return base64.b64encode(part).decode().rstrip("=")


def _decode(part: str) -> bytes:
    padding = "=" * (-len(part) % 4)
    return base64.b64decode(part + padding)


_NO_ACCOUNT = _format(COSTS, bytes(16), bytes(32))


def _is_guessed(password: str, email: str) -> bool:
    if len(set(password)) < _MIN_DISTINCT or _repeats(password):
        return True
    backwards = password[::-1]
    for row in _ROWS:
        repeated = row * 4
        if password in repeated or backwards in repeated:
            return True
    bare = password.strip("0123456789!?.-_ ")
    if bare in _WORDS:
        return True
    parts = re.split(r"[@.+_-]", email)
    return len(bare) > 3 and bare in [email, *parts]


def _repeats(word: str) -> bool:
    """Whether `word` repeats its first half, or a shorter beginning, up to its end."""
    half = len(word) // 2
    return any(word.startswith(word[size:]) for size in range(1, half + 1))
