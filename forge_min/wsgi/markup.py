"""HTML text from values: escaping, elements, checked URLs, times in the user's time zone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo

from ..auth import current_identity
from ..fanout import escape
from ..i18n import text
from ..lazy import lazy_pattern

# Other schemes than four, and hosts without a scheme: "//host", "\\host", "https:host".
_UNSAFE = lazy_pattern(
    r"[/\\]{2}|(?!https?://[^/\\?#]|mailto:|tel:)[a-z][a-z0-9+.\-]*:", re.A | re.I
)
_IGNORED = lazy_pattern(r"[\x00-\x20\x7f-\x9f]+")
_TRAILING = "/\\ " + "".join(map(chr, range(32)))


class Raw(str):
    """Text that is HTML already and is not escaped. Its creator guarantees that it is safe."""

    __slots__ = ()


def raw(value: object) -> str:
    """Return a Raw unchanged. Raises TypeError for other values, which may be unsafe."""
    if not isinstance(value, Raw):
        raise TypeError(f"!raw needs a Raw, not {type(value).__name__}: mark it with wsgi.Raw(...)")
    return value


def tag(element: str, content: object, /, **attributes: object) -> Raw:
    """Return an element. Its content is escaped unless it is Raw. Attributes: see `void`."""
    return Raw(f"{void(element, **attributes)}{_inner(content)}</{element}>")


def void(element: str, /, **attributes: object) -> Raw:
    """Return an element without content.

    Attributes are escaped; aria_label is written aria-label, class_ class. For True only the name
    is written; None and False omit the attribute.
    """
    parts = [f"<{element}"]
    for name, value in attributes.items():
        if value is not None and value is not False:
            spelled = name.rstrip("_").replace("_", "-")
            if value is True:
                parts.append(f" {spelled}")
            else:
                parts.append(f' {spelled}="{escape(value)}"')
    return Raw("".join(parts) + ">")


def join(parts: Iterable[object]) -> Raw:
    """Join values, each escaped unless it is Raw."""
    return Raw("".join(map(_inner, parts)))


def hidden_inputs(params: Mapping[str, Iterable[object]]) -> Raw:
    """Return hidden inputs of a form. params: name → values."""
    inputs = []
    for name, values in params.items():
        for value in values:
            inputs.append(void("input", type="hidden", name=name, value=value))
    return join(inputs)


def check_url(value: object) -> str:
    """Return a safe URL for href, src or action, else "#"; not escaped yet.

    Safe are paths of this host, and URLs with the scheme http, https, mailto or tel. Another host
    without a scheme ("//host") is not safe. Control characters and spaces are ignored in the check,
    as in browsers (WHATWG URL section 4.4).
    """
    if value is None:
        return ""
    return _checked(str(value).strip())


def check_root(value: object) -> str:
    """Check the part of a URL before a "/", as `check_url`; remove slashes at its end.

    With such a slash, "/" and "/flights" would become the host "flights".
    """
    if value is None:
        return ""
    return _checked(str(value).strip().rstrip(_TRAILING))


def _checked(text: str) -> str:
    # SAFETY: nothing is removed after the check, because that could expose an unsafe prefix.
    visible = _IGNORED.sub("", text)
    if _UNSAFE.match(visible):
        return "#"
    return text


def show_time(moment: datetime | None, form: str = "") -> str:
    """Format a time in the time zone of the current identity; None is "". Not escaped yet.

    moment: an aware time, or None.
    form: format for datetime.strftime; default: that of the current language.

    Unknown time zones are shown as UTC.
    """
    if moment is None:
        return ""
    return _formatted(local_time(moment), form or text("%Y-%m-%d %H:%M"))


def show_date(day: date) -> str:
    """Format a day as in the current language."""
    return _formatted(day, text("%Y-%m-%d"))


def _formatted(day: date, form: str) -> str:
    if day.year < 1000:  # the C library may write "800", which is invalid in HTML and ISO 8601
        year = f"{day.year:04}"
        parts = [part.replace("%Y", year) for part in form.split("%%")]
        form = "%%".join(parts)
    return day.strftime(form)


def local_time(moment: datetime) -> datetime:
    """Return a time in the user's time zone; a naive time is taken as local there."""
    zone = user_zone()
    with suppress(OverflowError):  # the date is out of range there
        if moment.tzinfo is None:
            return moment.replace(tzinfo=zone)
        return moment.astimezone(zone)
    return moment.astimezone(UTC)


_default_zone = "UTC"


def set_default_zone(name: str) -> None:
    """Set the time zone of identities without one, for this process. name: an IANA name."""
    global _default_zone
    _default_zone = name


def user_zone() -> tzinfo:
    """Return the time zone of the current identity; UTC if it is unknown."""
    name = current_identity().time_zone or _default_zone
    if name == "UTC":
        return UTC
    # Not found, not a valid name, or a folder of time zones.
    with suppress(KeyError, ValueError, OSError):
        return ZoneInfo(name)
    return UTC


def _inner(content: object) -> str:
    if isinstance(content, Raw):
        return content
    return escape(content)


def time_tag(moment: datetime | None, form: str = "") -> Raw:
    """Return a <time> element: `show_time` for people, seconds in UTC for programs."""
    if moment is None:
        return Raw()
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    exact = utc.isoformat(timespec="seconds")
    label = escape(show_time(moment, form))
    return Raw(f'<time datetime="{exact}Z">{label}</time>')
