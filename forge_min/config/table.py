"""The one table of configuration, keys.toml, as rows that validate values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ..resources import table
from .values import EXPECTED, Type, convert, parse_rate, wrong_content

LONGEST = 3650 * 86400.0  # seconds
_MOST_THREADS = 1024  # of a queue, as server.threads


class ConfigKey(NamedTuple):
    """One row of the table.

    name: "section.key".
    default: as a user would write it.
    pattern: a regular expression for the whole value.
    expected: the valid values, for messages.
    """

    name: str
    type: Type
    default: object
    help: str
    low: float = 0
    high: float = math.inf
    choices: Sequence[str] = ()
    aliases: Sequence[str] = ()
    secret: Literal["", "url", "all"] = ""
    pattern: str = ""
    expected: str = ""

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return "FORGE_" + self.name.replace(".", "_").upper()

    def accept(self, raw: object) -> Any:
        """Return the value as services take it. Raises ValueError with the expected value."""
        value = convert(self.type, raw)
        expected = " or ".join(map(repr, self.choices)) or EXPECTED[self.type]
        if value is None or (self.choices and value not in self.choices):
            raise ValueError(expected)
        if isinstance(value, int | float):
            self._check_range(value, expected)
        violated = wrong_content(value)
        if violated:
            raise ValueError(expected + violated)
        if not self._is_valid(value):
            raise ValueError(self.expected)
        return value

    def _check_range(self, number: float, expected: str) -> None:
        high = self.high
        unit = ""
        if self.type == "duration":
            high = min(high, LONGEST)
            unit = " s"
        if self.low <= number <= high:
            return
        message = f"{expected}, at least {self.low:.10g}{unit}"
        if high < math.inf:
            message += f" and at most {high:.10g}{unit}"
        raise ValueError(message)

    def _is_valid(self, value: Any) -> bool:
        """Check the pattern, and the rule in `_CHECKS`."""
        if self.pattern and not re.fullmatch(self.pattern, value):
            return False
        check = _CHECKS.get(self.name)
        if check is None:
            return True
        try:
            return check(value)
        except (ValueError, OSError, KeyError):
            return False


def _time_zone(value: str) -> bool:
    if value == "UTC":
        return True
    from zoneinfo import ZoneInfo  # PERF: only loaded for another zone than UTC

    return bool(ZoneInfo(value))  # raises KeyError or OSError for an unknown name


def _http(value: str) -> bool:
    if not value:
        return True
    from urllib.parse import urlsplit  # PERF: saves 3 ms without a collector

    parts = urlsplit(value)  # raises ValueError for half of an IPv6 address
    return bool(parts.hostname) and parts.port != 0


def _headers(value: Mapping[str, object]) -> bool:
    """Check names and values of headers (RFC 9110 section 5): a value is a line of Latin-1."""
    for name, text in value.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~\w-]+", name, re.ASCII) or not isinstance(text, str):
            return False
        if not re.fullmatch(r"([!-~\x80-\xff][\t -~\x80-\xff]*)?", text):
            return False
    return True


def _host(value: str) -> bool:
    if not value.isascii():
        value.encode("idna")  # raises UnicodeError without an IDNA form, and for a lone surrogate
    return value.isprintable()


def _networks(value: Sequence[str]) -> bool:
    if not value:
        return True
    from ipaddress import ip_network  # PERF: saves 3 ms without proxies

    return all(item == "unix" or ip_network(item) for item in value)


def _origins(value: Sequence[str]) -> bool:
    """Check that origins are written as browsers write them (Fetch standard, `Origin`).

    The host of a scheme other than http and https keeps its capitals and may be empty (WHATWG URL,
    3.5).
    """
    web = r"(?!https:.*:443\Z|http:.*:80\Z)https?://[^\sA-Z/?#@]+"
    written = rf"\*|null|{web}|(?!https?:)[a-z][a-z0-9+.-]*://[^\s/?#@]*"
    return all(origin.isascii() and re.fullmatch(written, origin) for origin in value)


def _addresses(value: Sequence[str]) -> bool:
    return all(re.match(r"postgres(ql)?://|\w+\s*=", item) for item in value)


def _queues(value: Mapping[str, object]) -> bool:
    for name, threads in value.items():
        if not name or not name.isprintable():  # no NUL: PostgreSQL
            return False
        if type(threads) is not int or not 0 < threads <= _MOST_THREADS:
            return False
    return bool(value)


def _rates(value: Mapping[str, object]) -> bool:
    for text in value.values():
        rate = parse_rate(str(text))
        if rate is None:
            return False
        count, seconds = rate
        if count >= 2**31 or not 0 < seconds <= 1_000_000:
            return False
    return True


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "project.time_zone": _time_zone,
    "database.replica_urls": _addresses,
    "server.host": _host,
    "admin.host": _host,
    "server.trusted_proxies": _networks,
    "jobs.queues": _queues,
    "observe.otlp_endpoint": _http,
    "observe.otlp_headers": _headers,
    "api.rate_limit": _rates,
    "api.cors_origins": _origins,
}
"""Rules beyond type, range and pattern: for an invalid value, false, or an error of `_is_valid`."""

TABLE = tuple(
    ConfigKey(f"{section}.{name}", **row)
    for section, rows in table(__package__, "keys.toml").items()
    for name, row in rows.items()
)
KEYS = {key.name: key for key in TABLE}
"""The table by name."""
