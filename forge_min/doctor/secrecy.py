"""How good a secret is. What is said of it never holds any part of it."""

from __future__ import annotations

import math
import re
from collections import Counter

BITS = 2.5  # that a character of a random secret has at least: hexadecimal digits have 4
# What stands in examples and in lists of first guesses; compared without case and separators.
KNOWN = re.compile(
    r"change(me|it|this)|placeholder|insecure|pass(word|wort|wd)|secret|example|sample|default"
    r"|letmein|qwert|12345|abcdef|admin|forgemin|development|replace(me|this)|yoursecret|todo|postgres"
)


def weakness(secret: str, least: int) -> str:
    """Why somebody could guess it; "" where nothing speaks against it. least: characters."""
    plain = re.sub(r"[-_. ]", "", secret.lower())
    if len(secret) < least:
        return f"has fewer than {least} characters"
    if plain in (plain + plain)[1:-1] or len(set(secret)) < 2:
        return "repeats itself"
    known = KNOWN.search(plain)
    if known and not re.fullmatch(r"[0-9a-f]+", plain):
        return "holds a word that everybody guesses first"
    steps = Counter(ord(b) - ord(a) for a, b in zip(secret, secret[1:]))
    if max(steps[0], steps[1], steps[-1]) > len(secret) / 3:
        return "is a row of characters"
    shares = [n / len(secret) for n in Counter(secret).values()]
    if -sum(p * math.log2(p) for p in shares) * len(secret) < BITS * least:
        return "has too few different characters"
    return ""
