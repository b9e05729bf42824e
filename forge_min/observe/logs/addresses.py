"""Addresses in a text without their passwords: `scheme://user:password@host`.

A password may hold what an address must not, such as spaces, / and @. A port is no password; of an
address of the web, a long user without one is a token.
"""

from __future__ import annotations

from ...expression import expression
from .rows import MASK

_WORDS = 6  # of a password with spaces
_TOKEN = expression(r"[^/?#:@\s]{20,}+(?=@)")
_PORT = expression(r"\d{1,5}(?:[/?#\s\"',;)\]}>]|$)")
_PORT_AND_PATH = expression(r"\d{1,5}[/?#]")
_WEB = expression(r"(?i)(?:https?|wss?|s?ftps?|ssh)$")  # whose paths hold an @ more than often
_ONE_MORE = expression(r"\s[^\s@]*+@\S*+")


def without_passwords(text: str) -> str:
    """The text with every password masked that stands between `://user:` and an @."""
    # SAFETY: each piece is looked at once, so that the time grows as the text does.
    pieces = text.split("://")
    told, n = [pieces[0]], 1
    while n < len(pieces):
        first = n
        while n + 1 < len(pieces) and _goes_on(pieces[n]):
            n += 1
        web = _WEB.search(pieces[first - 1][-5:]) is not None
        told.append(_without("://".join(pieces[first : n + 1]), web))
        n += 1
    return "://".join(told)


def _goes_on(piece: str) -> bool:
    """Whether the `://` that follows belongs to a password."""
    user, colon, rest = piece.partition(":")
    if not colon or "/" in user or "@" in piece or _PORT.match(rest):
        return False
    return not any(map(str.isspace, piece))


def _without(piece: str, web: bool) -> str:
    """What follows one `://`. web: a port and a path may stand before an @."""
    head = piece.split(None, 1)[0] if piece and not piece[0].isspace() else ""
    if web and (token := _TOKEN.match(head)):
        return MASK + piece[token.end() :]
    user, colon, password = head.partition(":")
    if not colon or "/" in user:
        return piece
    if "@" in password:
        if user and web and _PORT_AND_PATH.match(password):
            return piece
        more = _ONE_MORE.match(piece, len(head))
        end = piece.rfind("@", 0, more.end() if more else len(head))
    elif user and _PORT.match(password):
        return piece
    else:
        end = piece.find("@", len(head))
        if end < 0 or len(piece[:end].split(None, _WORDS)) > _WORDS:
            return piece
    return f"{user}:{MASK}{piece[end:]}"
