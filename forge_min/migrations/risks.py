"""Risk: what a step may cost; and what changing a column's type does to its values. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

WIDER = {
    ("integer", "bigint"),
    ("integer", "numeric"),
    ("bigint", "numeric"),
    ("date", "timestamp with time zone"),
}


@dataclass(frozen=True, slots=True)
class Risk:
    """destructive: data is lost. locking: nobody reads or writes the table while all its rows are
    written anew. what: the step. why: for a person.
    """

    kind: Literal["destructive", "locking"]
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} ({self.why})"


def using(name: str, new: str) -> str:
    """The USING clause of a change of type. name: the column's, quoted. A string is assigned, which
    never cuts it; a cast would.
    """
    return "" if new.startswith("character varying") else f" using {name}::{new}"


def narrows(old: str, new: str) -> bool:
    """Whether the new type may not hold every value of the old one. Types as PostgreSQL names them:
    "character varying(5)", "numeric(6,2)".
    """
    (a, *before), (b, *after) = (re.findall(r"[a-z ]+|\d+", type) for type in (old, new))
    if not after:
        return b != "text" and a != b and (a, b) not in WIDER
    if a != b or not before:
        return True
    (size, scale), (new_size, new_scale) = ([*map(int, n), 0][:2] for n in (before, after))
    return new_scale < scale or new_size - new_scale < size - scale
