"""What a check found."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """subject: what was looked at. state: a warning is worth a look, "failed" does not work."""

    subject: str
    state: Literal["ok", "warning", "failed"]
    message: str
    hint: str = ""
