"""Messages in the reader's language: one gettext catalogue per language, English without any.

A project's catalogues are locale/<language>/LC_MESSAGES/messages.mo; their template is
gen/messages.pot. A language is a tag of BCP 47, here in lower case ("de", "pt-br"); "" is English.
The catalogues belong to the process, the current language to the context (request, job, thread).
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from .errors import ConfigError
from .lazy import lazy_pattern

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_TAG = lazy_pattern(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")
_WEIGHT = lazy_pattern(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_PLACEHOLDER = lazy_pattern(r"\{([^{}]*)\}")
_NUMBER = lazy_pattern(r"1(\D?)234(\D)5")
_LONG = 10**21
_MAX_HEADER = 1024  # characters of Accept, Accept-Encoding or Accept-Language; browsers send 150

_current: ContextVar[str] = ContextVar("forge_language", default="")

_default = ""
LANGUAGES: dict[str, gettext.NullTranslations] = {}
"""The catalogue of each language, in order of their tags; empty if all is English.

Only `load` changes it.
"""


def text(message: str, /, **values: object) -> str:
    """Return `message` in the current language, each {name} in it replaced by that value.

    message: English, a literal, because messages.pot is extracted from the source.

    Never raises for a translation: if it uses unknown names, the English message is returned.
    """
    catalogue = LANGUAGES.get(_current.get())
    if catalogue and message:  # a catalogue translates "" as its header
        try:
            return _filled(catalogue.gettext(message), values)
        except KeyError:
            pass
    return _filled(message, values)


def gettext_noop(message: str) -> str:
    """Mark a message of a table for messages.pot, and return it unchanged.

    The code that shows it calls text(message).
    """
    return message


def humanize(name: str) -> str:
    """Return a snake_case name as words, in English: "departs_at" → "Departs at"."""
    return name.strip("_").replace("_", " ").capitalize()


def number_marks() -> tuple[str, str]:
    """Return the marks between thousands and before decimals in the current language."""
    # In translations: the same number as it is written in the language.
    match = _NUMBER.fullmatch(text("1,234.5"))
    if match is None:
        return ",", "."
    return match[1], match[2]


def format_number(number: int) -> str:
    """Return a whole number with marks between thousands."""
    return f"{number:,}".replace(",", number_marks()[0])


class NumberError(ValueError):
    """A number is out of range. The client may see the message."""


def parse_number(number: str) -> Decimal:
    """Parse a number of JSON exactly. Raises NumberError for an exponent that Decimal rejects."""
    try:
        return Decimal(number)
    except InvalidOperation:
        raise NumberError(text("{number} is out of range", number=number[:40])) from None


def shortest_number(number: int) -> int | float:
    """Return a whole number of JSON in its shorter form, int or float.

    From 1e21 on, where ECMAScript writes an exponent (ECMA-262, Number::toString), it is a float if
    that has exactly this value: 1e300 is not 301 digits.
    """
    if -_LONG < number < _LONG:
        return number
    try:
        double = float(number)
    except OverflowError:
        return number
    if Decimal(repr(double)) == number:
        return double
    return number


def _filled(message: str, values: dict[str, object]) -> str:
    """Replace only names: unlike with str.format, a catalogue cannot read attributes."""
    if not values:
        return message
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), message)


def load(folder: Traversable, default: str = "") -> None:
    """Load <language>/LC_MESSAGES/messages.mo below `folder`, replacing the previous catalogues.

    A folder that does not exist has none.

    default: the language of clients that accept no other one.

    Raises ConfigError F639 for a file that is not a catalogue, and for a default without one.
    """
    catalogues = {}
    if folder.is_dir():
        for language in folder.iterdir():
            file = language / "LC_MESSAGES" / "messages.mo"
            if _TAG.fullmatch(language.name) and file.is_file():
                catalogues[_tag(language.name)] = _read_catalogue(file)
    default = _tag(default)
    if default == "en":
        default = ""
    elif default and default not in catalogues:
        languages = ", ".join(["en", *catalogues])
        message = f"project.language: no catalogue for {default!r}; there are {languages}"
        hint = "add locale/<language>/LC_MESSAGES/messages.mo"
        raise ConfigError(message, code="F639", hint=hint)
    global _default
    _default = default
    LANGUAGES.clear()
    LANGUAGES.update(sorted(catalogues.items()))


def _read_catalogue(file: Traversable) -> gettext.NullTranslations:
    try:
        return gettext.GNUTranslations(io.BytesIO(file.read_bytes()))
    except Exception as err:  # gettext raises many types of errors
        hint = "compile it again with msgfmt, or remove it"
        message = f"{file} is not a catalogue of gettext: {err}"
        raise ConfigError(message, code="F639", hint=hint) from err


def current_language() -> str:
    """Return the language of this context; "" is English."""
    return _current.get()


@contextmanager
def in_language(language: str) -> Iterator[None]:
    """Run the block in a language; a language without a catalogue, and "", are English."""
    token = _current.set(_tag(language))
    try:
        yield
    finally:
        _current.reset(token)


def negotiate(accepted: str) -> str:
    """Return the language with a catalogue that fits best, else the default of `load`.

    accepted: the value of Accept-Language (RFC 9110 section 12.5.4), or one tag.

    Each range is looked up as in RFC 4647 section 3.4 ("de-CH" matches "de"), then as a prefix
    ("pt" matches "pt-br"). Malformed ranges are ignored.
    """
    if not LANGUAGES:
        return _default
    for preferred in _ranges(shortened(accepted)):
        language = preferred
        while language and language not in LANGUAGES:
            if language == "en":
                return ""
            if language == "*":
                return _default
            language = language.rpartition("-")[0]
        if language:
            return language
        for regional in LANGUAGES:
            if regional.startswith(preferred + "-"):
                return regional
    return _default


@lru_cache(256)
def _ranges(accepted: str) -> tuple[str, ...]:
    """Return the ranges in lower case, the preferred ones first, without those of weight 0."""
    items = islice(preferences(accepted.replace("_", "-")), 20)  # browsers send six
    ranges = [(weight, name) for name, params, weight in items if weight and not params]
    ranges.sort(key=lambda item: -item[0])
    return tuple(name for _, name in ranges)


def shortened(header: str) -> str:
    """Return the items of such a header that end within its first kilobyte.

    Each item costs time, and caches keep the text.
    """
    if len(header) <= _MAX_HEADER:
        return header
    return header[: _MAX_HEADER + 1].rpartition(",")[0]


def preferences(header: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Yield each item of Accept, Accept-Encoding or Accept-Language, in lower case.

    An item is (name, parameters, weight); the weight of a malformed item is 0 (RFC 9110 section
    12.4.2).
    """
    for item in header.lower().split(","):
        name, *parameters = item.split(";")
        params = {}
        for parameter in parameters:
            key, _, value = parameter.strip().partition("=")
            params[key.strip()] = value.strip(' "')
        weight = params.pop("q", "1")
        if not _WEIGHT.fullmatch(weight):
            weight = "0"
        yield name.strip(), params, float(weight)


def _tag(language: str) -> str:
    return language.replace("_", "-").lower()
