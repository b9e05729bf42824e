"""Passwords: what may be one, and what is kept of it.

Kept is a PHC string of scrypt (RFC 7914), "$scrypt$ln=15,r=8,p=1$salt$hash"; its costs are OWASP's
(Password Storage Cheat Sheet): 32 MiB and some 60 ms for each attempt.
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
WAIT = 5.0  # seconds for a turn
_FEWEST_DIFFERENT = 5  # characters
_TURNS = threading.BoundedSemaphore(2)  # LOCK: how many take 32 MiB at the same time
_NEXT = threading.Lock()  # LOCK: held by the one that gets the next turn, so that none overtakes it
_PLACES = threading.BoundedSemaphore(3)  # LOCK: how many unknown networks have or await a turn
_STORED = lazy_pattern(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
_ROWS = ("abcdefghijklmnopqrstuvwxyz", "0123456789", "qwertzuiopasdfghjkl", "qwertyuiopasdf")
_WORDS = frozenset(("password", "passwort", "passw0rd", "welcome", "letmein", "changeme", "admin"))


class Costs(NamedTuple):
    """log2n, r, p: RFC 7914 section 2, n = 2 ** log2n."""

    log2n: int = 15
    r: int = 8
    p: int = 1


COSTS = Costs()


def check_password(password: object, *, at_least: int, beside: str = "") -> str:
    """The password, where it may be one. beside: an email, whose parts are no password.

    Raises Invalid F630 with the pointer /password. As NIST SP 800-63B section 5.1.1.2 asks: any
    characters, a length, and nothing that is guessed first.
    """
    why = None
    if not isinstance(password, str) or "\0" in password:
        why = text("must be a text")
    elif len(password) < at_least:
        why = text("must have at least {min} characters", min=at_least)
    elif len(password) > LONGEST:
        why = text("must have at most {max} characters", max=LONGEST)
    elif _is_guessed(password.casefold(), beside.casefold()):
        why = text("is one of those that are guessed first")
    if why is not None:
        raise Invalid(
            [FieldError("/password", "bad_password", why)], f"password {why}", code="F630"
        )
    return str(password)


def hash_password(password: str, costs: Costs = COSTS) -> str:
    """What is kept of it; another text each time. Raises Unavailable as `verify_password`."""
    salt = os.urandom(16)
    return _kept(costs, salt, _derived(password, salt, costs))


def verify_password(password: str, kept: str | None) -> bool:
    """Whether it is the one that `kept` was made of. Takes as long where there is none, so that
    nobody learns who has an account. Raises Unavailable after WAIT seconds without a turn.
    """
    found = _STORED.fullmatch(kept or _NOBODY)
    if found is None or len(password) > LONGEST:
        return False
    costs = Costs(*map(int, found.groups()[:3]))
    salt, known = (_decoded(part) for part in found.groups()[3:])
    same = hmac.compare_digest(_derived(password, salt, costs), known)
    return same and kept is not None


def is_outdated(kept: str) -> bool:
    """Whether it was made with other costs than today's: hash anew when the password is known."""
    found = _STORED.fullmatch(kept)
    return found is None or Costs(*map(int, found.groups()[:3])) != COSTS


@contextmanager
def place() -> Iterator[None]:
    """Hold one of the few places of unknown networks. Raises Unavailable at once if all are taken,
    so a flood of their tries does not hold the threads that serve other requests.
    """
    if not _PLACES.acquire(blocking=False):
        raise Unavailable("too many sign in at once", retry_after=1)
    try:
        yield
    finally:
        _PLACES.release()


@contextmanager
def _turn() -> Iterator[None]:
    first = _NEXT.acquire(timeout=WAIT)
    try:
        if not first or not _TURNS.acquire(timeout=WAIT):
            raise Unavailable("too many sign in at once", retry_after=max(1, int(WAIT)))
    finally:
        if first:
            _NEXT.release()
    try:
        yield
    finally:
        _TURNS.release()


def _derived(password: str, salt: bytes, costs: Costs) -> bytes:
    n = 1 << costs.log2n
    memory = 128 * costs.r * (n + costs.p + 2) + (1 << 20)  # RFC 7914 section 2, and some room
    with _turn():
        return hashlib.scrypt(
            password.encode("utf-8", "surrogatepass"),
            salt=salt, n=n, r=costs.r, p=costs.p, maxmem=memory, dklen=32,
        )  # fmt: skip


def _kept(costs: Costs, salt: bytes, derived: bytes) -> str:
    parts = (base64.b64encode(part).decode().rstrip("=") for part in (salt, derived))
    return "$".join(("", "scrypt", "ln={},r={},p={}".format(*costs), *parts))


def _decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4))


_NOBODY = _kept(COSTS, bytes(16), bytes(32))


def _is_guessed(password: str, email: str) -> bool:
    if len(set(password)) < _FEWEST_DIFFERENT:
        return True
    if _repeats(password):
        return True
    if any(password in row * 4 or password[::-1] in row * 4 for row in _ROWS):
        return True
    bare = password.strip("0123456789!?.-_ ")
    parts = [email, *re.split(r"[@.+_-]", email)]
    return bare in _WORDS or any(len(part) > 3 and bare == part for part in parts)


def _repeats(word: str) -> bool:
    """Whether `word` repeats its first half, or a shorter beginning, up to its end."""
    return any(word.startswith(word[n:]) for n in range(1, len(word) // 2 + 1))
