"""Values of configuration: converts text and TOML for services. Knows types, not keys."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
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
"""The expected value of each type, for messages."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_MOST = 2**63  # TOML, Integer
_TRUTH = {"true": True, "1": True, "yes": True, "on": True}
_TRUTH |= {"false": False, "0": False, "no": False, "off": False}


def parse_duration(text: str) -> float | None:
    """Return the seconds in "250ms", "5s", "10m", "24h", "7d", "1h30m" or "0", else None."""
    if text == "0":
        return 0.0
    if not re.fullmatch(r"(\d{1,9}(\.\d{1,9})?(ms|[smhd]))+", text, re.ASCII):
        return None
    return sum(float(n) * _SECONDS[unit] for n, unit in re.findall(r"([\d.]+)(ms|[smhd])", text))


def parse_rate(text: str) -> tuple[int, float] | None:
    """Return a number from 1, and its period in seconds, from "100/1m" or "100/m", else None."""
    match = re.fullmatch(r"(\d{1,15})/(.+)", text)
    if match is None or not int(match[1]):
        return None
    count, period = match.groups()
    if not period[0].isdigit():
        period = f"1{period}"
    seconds = parse_duration(period)
    if seconds is None:
        return None
    return int(count), seconds


def parse_size(text: str) -> int | None:
    """Return the bytes in "1048576", "64KiB", "1MiB" or "2MB", else None."""
    match = re.fullmatch(r"(\d{1,15})\s*([KMG]i?B|B)?", text, re.ASCII | re.IGNORECASE)
    if match is None:
        return None
    number, unit = match.groups("B")
    return int(number) * _BYTES[unit.upper()]


def convert(type_: Type, raw: Any) -> Any:
    """Return a TOML value as services take it, read-only; None for another type."""
    match type_, raw:
        case "bool", bool():
            return raw
        case _, bool():  # an int, too
            return None
        case ("text", str()) | ("int" | "size", int()):
            return raw
        case "duration", str():
            return parse_duration(raw)
        case "duration", int() if raw == 0:
            return 0.0
        case "size", str():
            return parse_size(raw)
        case "float", float() if math.isfinite(raw):
            return raw
        case "float", int() if not wrong_content(raw):
            return float(raw)
        case "list", list() if all(type(item) is str for item in raw):
            return tuple(raw)
        case "table", dict():
            return MappingProxyType(dict(raw))
    return None


def wrong_content(value: Any) -> str:
    """Return the violated condition of a value of any type; "" without one.

    Lists and tables are checked item by item. A lone surrogate represents a byte that is not UTF-8
    (PEP 383): it cannot be sent.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return " in UTF-8"
    elif isinstance(value, int):
        if not -_MOST <= value < _MOST:
            return " of 64 bits at most"
    elif isinstance(value, Mapping):
        return wrong_content([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            condition = wrong_content(item)
            if condition:
                return condition
    return ""


def preview(value: object) -> str:
    """Return the beginning of a value's repr, for a message."""
    try:
        return repr(value)[:80]
    except ValueError:  # more digits than Python formats
        return "a number of thousands of digits"


def as_toml(type_: Type, raw: str) -> object:
    """Return the TOML value of a variable's text; the text itself if it is not TOML."""
    if type_ in ("text", "duration", "size"):
        return raw
    if type_ == "bool":
        return _TRUTH.get(raw.strip().lower(), raw)
    import tomllib  # PERF: saves 4 ms without such variables

    try:
        parsed = tomllib.loads("value = " + raw)
    except (ValueError, RecursionError):  # a ValueError also for more digits than int() takes
        return raw
    if len(parsed) > 1:  # a line break and another key
        return raw
    return parsed["value"]
