"""The one table of configuration, keys.toml, as rows that validate values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ..resources import table
from .values import EXPECTED, Type, convert, freeze, parse_rate, wrong_content

LONGEST = 3650 * 86400.0  # seconds
_MOST_THREADS = 1024  # of a queue, as server.threads


class ConfigKey(NamedTuple):
    """One row of the table.

    name: "section.key".
    default: as a user would write it.
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

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return "FORGE_" + self.name.replace(".", "_").upper()

    def accept(self, raw: object) -> Any:
        """Return the value as services take it. Raises ValueError with the expected value."""
        if isinstance(raw, bool) and self.choices:
            raw = str(raw).lower()  # false, for a key with other words too
        value = convert(self.type, raw)
        expected = EXPECTED[self.type]
        if value is None:
            raise ValueError(expected)
        if isinstance(value, int | float):
            time = self.type == "duration"
            high, unit = (min(self.high, LONGEST), " s") if time else (self.high, "")
            if not self.low <= value <= high:
                limit = "" if high == math.inf else f" and at most {high:.10g}{unit}"
                raise ValueError(f"{expected}, at least {self.low:.10g}{unit}{limit}")
        if self.choices and value not in self.choices:
            raise ValueError(" or ".join(repr(choice) for choice in self.choices))
        if limit := wrong_content(value):
            raise ValueError(expected + limit)
        wrong = _CHECKS[self.name](value) if self.name in _CHECKS else ""
        if wrong:
            raise ValueError(wrong)
        return freeze(value)


_Check = Callable[[Any], str]


def _like(pattern: str, expected: str) -> _Check:
    return lambda value: "" if re.fullmatch(pattern, value) else expected


def _http(value: str) -> str:
    known = not value or re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", value) is not None
    if value and known:
        from urllib.parse import urlsplit  # PERF: saves 3 ms without a collector

        try:
            parts = urlsplit(value)
            known = bool(parts.hostname) and parts.port != 0
        except ValueError:  # an invalid port, or half of an IPv6 address
            known = False
    return "" if known else "an address like 'http://127.0.0.1:4318' (a password: otlp_headers)"


def _headers(value: Mapping[str, object]) -> str:
    """Check names and values of headers (RFC 9110 section 5): a value is a line of Latin-1."""
    good = all(
        re.fullmatch(r"[!#$%&'*+.^_`|~\w-]+", name, re.ASCII)
        and isinstance(text, str)
        and re.fullmatch(r"([!-~\x80-\xff][\t -~\x80-\xff]*)?", text)
        for name, text in value.items()
    )
    return "" if good else "a table of header names and values, each a line of Latin-1"


def _host(value: str) -> str:
    known = value.isprintable()  # a lone surrogate cannot be encoded
    if known and not value.isascii():
        try:
            value.encode("idna")
        except UnicodeError:
            known = False
    return "" if known else "a name or an address like '127.0.0.1'"


def _networks(value: list[str]) -> str:
    if not value:
        return ""
    from ipaddress import ip_network  # PERF: saves 3 ms without proxies

    try:
        [ip_network(item) for item in value if item != "unix"]
    except ValueError:
        return "a list of addresses and networks like ['10.0.0.0/8'], or 'unix'"
    return ""


def _origins(value: list[str]) -> str:
    """Check that origins are written as browsers write them (Fetch standard, `Origin`).

    The host of a scheme other than http and https keeps its capitals and may be empty (WHATWG URL,
    3.5).
    """
    web = r"(?!https:.*:443\Z|http:.*:80\Z)https?://[^\sA-Z/?#@]+"
    written = rf"\*|null|{web}|(?!https?:)[a-z][a-z0-9+.-]*://[^\s/?#@]*"
    good = all(origin.isascii() and re.fullmatch(written, origin) for origin in value)
    return "" if good else "a list of origins like ['https://shop.example'], without a path"


def _queues(value: Mapping[str, object]) -> str:
    good = all(type(n) is int and 0 < n <= _MOST_THREADS for n in value.values())
    good = good and all(name and name.isprintable() for name in value)  # no NUL: PostgreSQL
    return "" if good and value else "a table of queue = threads like {default = 10, mail = 2}"


def _rates(value: Mapping[str, object]) -> str:
    rates = [parse_rate(str(rate)) or (0, 0.0) for rate in value.values()]
    good = all(count < 2**31 and 0 < seconds <= 1_000_000 for count, seconds in rates)
    return "" if good else 'a table like {default = "100/1m"}'


def _scripts(value: Mapping[str, object]) -> str:
    parts = {"wheel": r"[\w.-]+==[\w.!+-]+", "member": r"\S.*", "sha256": r"[0-9a-f]{64}"}
    inside = r"(?!\.)[\w.-]+(/(?!\.)[\w.-]+)*"
    good = all(
        re.fullmatch(inside, name, re.ASCII)
        and isinstance(row, dict)
        and row.keys() == parts.keys()
        and all(re.fullmatch(parts[key], str(part), re.ASCII) for key, part in row.items())
        for name, row in value.items()
    )
    return "" if good else 'a table like {"js/x.js" = {wheel = "x==1.0", member, sha256}}'


_URL = _like(r"(?s)(postgres(ql)?://|\w+\s*=).*|", "a URL like 'postgresql://user@host/name'")
_HEADER = "a header name like 'X-Tenant-ID', without '_'"  # environ has '_' for '-'
_CHECKS: dict[str, _Check] = {
    "database.url": _URL,
    "database.migrate_url": _URL,
    "database.direct_url": _URL,
    "server.host": _host,
    "admin.host": _host,
    "admin.token": _like("([!-~]([ -~]*[!-~])?)?", "printable ASCII, without a space at its ends"),
    "server.trusted_proxies": _networks,
    "jobs.queues": _queues,
    "observe.otlp_endpoint": _http,
    "observe.otlp_headers": _headers,
    "tenancy.domain": _like(r"(?ai)([a-z0-9_-]+(\.[a-z0-9_-]+)*)?", "a domain like 'shop.example'"),
    "tenancy.header": _like("(?ai)[!#$%&'*+.^`|~0-9a-z-]+", _HEADER),
    "api.prefix": _like(r"(/[\w.~-]+)+", "a path like '/api/v1'"),
    "api.rate_limit": _rates,
    "api.cors_origins": _origins,
    "assets.scripts": _scripts,
}
"""Rules beyond type and range: "", or the expected value."""

TABLE = tuple(
    ConfigKey(f"{section}.{name}", **row)
    for section, rows in table(__package__, "keys.toml").items()
    for name, row in rows.items()
)
KEYS = {key.name: key for key in TABLE}
"""The table by name."""
