"""How good a secret is. What is said of it never holds any part of it."""

from __future__ import annotations

import re

DISTINCT = 8  # different characters that a random secret has at least
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
    return "has too few different characters" if len(set(secret)) < DISTINCT else ""
