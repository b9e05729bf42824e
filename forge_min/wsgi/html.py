"""HTML text from values: escaping, the mark of what is HTML already, the check of URLs, and times
in the reader's zone.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ..auth import current_identity

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_ALLOWED = frozenset(("http", "https", "mailto", "tel"))
_IGNORED = re.compile(r"[\x00-\x20\x7f-\x9f]+")


class Raw(str):
    """Text that is HTML already and goes out as it is. Whoever makes one vouches for it."""

    __slots__ = ()


def escape(value: object) -> str:
    """A value as HTML text, safe in an element and in a quoted attribute; None is "".

    A Raw is escaped like any other text: only `raw` lets one through.
    """
    if type(value) is not str:
        if value is None:
            return ""
        value = str(value)
    # PERF: most values are one word; this saves five scans (benchmarks/http, case html).
    if value.isalnum():
        return value
    return (
        value.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace('"', "&#34;")
        .replace("'", "&#39;")
    )


def raw(value: object) -> str:
    """A Raw as it is. TypeError for anything else: nobody vouched for it."""
    if not isinstance(value, Raw):
        raise TypeError(f"!raw needs a Raw, not {type(value).__name__}: mark it with wsgi.Raw(...)")
    return value


def check_url(value: object) -> str:
    """A URL for href, src or action: relative, or of scheme http, https, mailto or tel; anything
    else is "#".

    Control characters and spaces are left out first, as browsers do (WHATWG URL section 4.4). The
    result is not escaped yet.
    """
    text = "" if value is None else str(value)
    bare = _IGNORED.sub("", text)
    scheme = _SCHEME.match(bare)
    if scheme and scheme[1].lower() not in _ALLOWED:
        return "#"
    return text.strip()


def show_time(moment: datetime | None, form: str = "%Y-%m-%d %H:%M") -> str:
    """An aware time in the time zone of the current identity; None is "". Not escaped yet.

    form: as datetime.strftime takes it. A zone that this machine does not know is shown as UTC.
    """
    if moment is None:
        return ""
    moment = moment.astimezone(UTC)
    # No such zone, no name of one, a folder of them, a day outside the calendar.
    with suppress(KeyError, ValueError, OSError, OverflowError):
        moment = moment.astimezone(ZoneInfo(current_identity().time_zone))
    return moment.strftime(form)


def time_tag(moment: datetime | None, form: str = "%Y-%m-%d %H:%M") -> Raw:
    """A <time> element: for people as `show_time`, for machines to the second in UTC."""
    if moment is None:
        return Raw()
    exact = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    return Raw(f'<time datetime="{exact}Z">{escape(show_time(moment, form))}</time>')
