"""Values of configuration: text and TOML into what services get. Knows types, not keys."""

from __future__ import annotations

import math
import re
from types import MappingProxyType
from typing import Any, Literal

Type = Literal["text", "int", "float", "bool", "duration", "size", "list", "table"]

EXPECTED: dict[Type, str] = {
    "text": "text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "duration": "a time with its unit like '250ms', '5s', '10m', '24h' or '7d'",
    "size": "a number of bytes or a size like '1MiB'",
    "list": "a list of texts like ['a', 'b']",
    "table": "a table like {name = value}",
}
"""What a value of each type must be, for messages."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_MOST = 2**63  # TOML, Integer
_TRUTH = {"true": True, "1": True, "yes": True, "on": True}
_TRUTH |= {"false": False, "0": False, "no": False, "off": False}


def parse_duration(text: str) -> float | None:
    """Seconds in "250ms", "5s", "10m", "24h", "7d", "1h30m" or "0"; None for anything else."""
    if text == "0":
        return 0.0
    if not re.fullmatch(r"(\d{1,9}(\.\d{1,9})?(ms|[smhd]))+", text, re.ASCII):
        return None
    return sum(float(n) * _SECONDS[unit] for n, unit in re.findall(r"([\d.]+)(ms|[smhd])", text))


def parse_rate(text: str) -> tuple[int, float] | None:
    """Read a number from 1, and the seconds it is for, as in "100/1m" or "100/m".

    None for anything else.
    """
    match = re.fullmatch(r"(\d{1,15})/(.+)", text)
    if match is None or not int(match[1]):
        return None
    seconds = parse_duration(match[2] if match[2][0].isdigit() else f"1{match[2]}")
    return None if seconds is None else (int(match[1]), seconds)


def parse_size(text: str) -> int | None:
    """Bytes in "1048576", "64KiB", "1MiB", "2MB"; None for anything else."""
    match = re.fullmatch(r"(\d{1,15})\s*([KMG]i?B|B)?", text, re.ASCII | re.IGNORECASE)
    return int(match[1]) * _BYTES[(match[2] or "B").upper()] if match else None


def convert(type_: Type, raw: Any) -> Any:
    """A TOML value as services get it, lists and tables still open; None if of another type."""
    kind = type(raw)
    if type_ == "duration":
        return parse_duration(raw) if kind is str else 0.0 if kind is int and raw == 0 else None
    if type_ == "size":
        return raw if kind is int else parse_size(raw) if kind is str else None
    if type_ == "float":
        known = math.isfinite(raw) if kind is float else kind is int and not wrong_content(raw)
        return float(raw) if known else None
    if type_ == "list":
        return raw if kind is list and all(type(item) is str for item in raw) else None
    kinds = {"text": str, "int": int, "bool": bool, "table": dict}
    return raw if kind is kinds[type_] else None


def wrong_content(value: Any) -> str:
    """What a value may not be, whatever its type: "" or what it must be besides. Lists and tables
    are looked into.

    Half a pair of surrogates stands for a byte that is no UTF-8 (PEP 383): nothing can send it.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return " in UTF-8"
    elif isinstance(value, int):
        return "" if -_MOST <= value < _MOST else " of 64 bits at most"
    elif isinstance(value, list | dict):
        parts = value if isinstance(value, list) else [*value, *value.values()]
        return next(filter(None, map(wrong_content, parts)), "")
    return ""


def preview(value: object) -> str:
    """Its beginning, as a message may hold it."""
    try:
        return repr(value)[:80]
    except ValueError:  # more digits than Python writes
        return "a number of thousands of digits"


def as_toml(type_: Type, raw: str) -> object:
    """What TOML would have given for a variable's text; the text itself where it cannot be."""
    if type_ in ("text", "duration", "size"):
        return raw
    if type_ == "bool":
        return _TRUTH.get(raw.strip().lower(), raw)
    import tomllib  # PERF: 4 ms that a site without such variables does not wait for

    try:
        parsed = tomllib.loads("value = " + raw)
    except (ValueError, RecursionError):  # a ValueError also for more digits than int() takes
        return raw
    return parsed["value"] if len(parsed) == 1 else raw


def freeze(value: Any) -> Any:
    """Lists as tuples, tables as read-only mappings."""
    if isinstance(value, list):
        return tuple(value)
    return MappingProxyType(dict(value)) if isinstance(value, dict) else value
