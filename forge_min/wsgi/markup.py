"""HTML text from values: escaping, elements, the mark of what is HTML already, the check of URLs,
and times in the reader's zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from ..auth import current_identity
from ..fanout import escape
from ..lazy import lazy_pattern

__all__ = [
    "Raw", "check_root", "check_url", "escape", "join", "local_time", "raw", "reader_zone",
    "show_time", "tag", "time_tag", "void",
]  # fmt: skip

# A scheme but for four, and a host without one: browsers read "//host", "\\host" and "https:host".
_REFUSED = lazy_pattern(
    r"[/\\]{2}|(?!https?://[^/\\?#]|mailto:|tel:)[a-z][a-z0-9+.\-]*:", re.A | re.I
)
_IGNORED = lazy_pattern(r"[\x00-\x20\x7f-\x9f]+")
_ENDS = "/\\ " + "".join(map(chr, range(32)))


class Raw(str):
    """Text that is HTML already and goes out as it is. Whoever makes one vouches for it."""

    __slots__ = ()


def raw(value: object) -> str:
    """A Raw as it is. TypeError for anything else: nobody vouched for it."""
    if not isinstance(value, Raw):
        raise TypeError(f"!raw needs a Raw, not {type(value).__name__}: mark it with wsgi.Raw(...)")
    return value


def tag(element: str, content: object, /, **attributes: object) -> Raw:
    """An element; its content is escaped unless it is Raw. Attributes: as of `void`."""
    return Raw(f"{void(element, **attributes)}{_inner(content)}</{element}>")


def void(element: str, /, **attributes: object) -> Raw:
    """An element without content. Attributes are escaped; aria_label is aria-label, class_ is
    class; of True only the name is there, of None and False nothing.
    """
    shown = [f"<{element}"]
    for name, value in attributes.items():
        if value is not None and value is not False:
            spelled = name.rstrip("_").replace("_", "-")
            shown.append(f" {spelled}" if value is True else f' {spelled}="{escape(value)}"')
    return Raw("".join(shown) + ">")


def join(parts: Iterable[object]) -> Raw:
    """Pieces, each escaped unless it is Raw."""
    return Raw("".join(map(_inner, parts)))


def check_url(value: object) -> str:
    """A URL for href, src or action: a path of this host, or whole, of scheme http, https, mailto
    or tel; anything else is "#", and so is "//host".

    Control characters and spaces are left out first, as browsers do (WHATWG URL section 4.4). The
    result is not escaped yet.
    """
    return _checked("" if value is None else str(value).strip())


def check_root(value: object) -> str:
    """What of a URL stands before a "/": as `check_url`, without slashes at its end.

    With one, "/" and "/flights" would be the host "flights".
    """
    return _checked("" if value is None else str(value).strip().rstrip(_ENDS))


def _checked(text: str) -> str:
    # SAFETY: nothing is taken off after the look, or what it hid would come to the front.
    return "#" if _REFUSED.match(_IGNORED.sub("", text)) else text


def show_time(moment: datetime | None, form: str = "%Y-%m-%d %H:%M") -> str:
    """An aware time in the time zone of the current identity; None is "". Not escaped yet.

    form: as datetime.strftime takes it. A zone that this machine does not know is shown as UTC.
    """
    if moment is None:
        return ""
    local = local_time(moment)
    if local.year < 1000:  # the C library may write "800", which is no year to HTML and ISO 8601
        form = "%%".join(p.replace("%Y", f"{local.year:04}") for p in form.split("%%"))
    return local.strftime(form)


def local_time(moment: datetime) -> datetime:
    """The moment in the reader's zone; a naive one is read by the clock of that zone."""
    zone = reader_zone()
    with suppress(OverflowError):  # a day outside the calendar there
        return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)
    return moment.astimezone(UTC)


def reader_zone() -> tzinfo:
    """The time zone of the current identity; UTC where this machine does not know it."""
    name = current_identity().time_zone
    # No such zone, no name of one, a folder of them.
    with suppress(KeyError, ValueError, OSError):
        return UTC if name == "UTC" else ZoneInfo(name)
    return UTC


def _inner(content: object) -> str:
    return content if isinstance(content, Raw) else escape(content)


def time_tag(moment: datetime | None, form: str = "%Y-%m-%d %H:%M") -> Raw:
    """A <time> element: for people as `show_time`, for machines to the second in UTC."""
    if moment is None:
        return Raw()
    exact = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    return Raw(f'<time datetime="{exact}Z">{escape(show_time(moment, form))}</time>')
