"""Messages in the language of whoever reads them: one gettext catalogue per language, English
without any.

A project's catalogues lie in locale/<language>/LC_MESSAGES/messages.mo; its template is
gen/messages.pot. A language is a tag of BCP 47, here in lower case ("de", "pt-br"); "" is English.
The catalogues belong to the process, the current language to the context (request, job, thread).
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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
_PLACE = lazy_pattern(r"\{([^{}]*)\}")
_LONG = 10**21

_current: ContextVar[str] = ContextVar("forge_language", default="")
_catalogues: dict[str, gettext.NullTranslations] = {}

LANGUAGES: list[str] = []
"""As `languages`, for whoever asks at each request; filled by `load` alone."""


def text(message: str, /, **values: object) -> str:
    """`message` in the current language, each {name} in it replaced by the value of that name.

    message: English, a literal, because messages.pot is made from the source. Never raises for what
    a catalogue says: a translation that asks for other values is left aside for the English.
    """
    if message and (catalogue := _catalogues.get(_current.get())):  # for "" it gives its head
        try:
            return _filled(catalogue.gettext(message), values)
        except KeyError:
            pass
    return _filled(message, values)


def gettext_noop(message: str) -> str:
    """`message` as it is: marks a sentence of a table, so that messages.pot has it. Whoever shows
    it says text(sentence).
    """
    return message


def humanize(name: str) -> str:
    """A snake name as people write it, in English: "departs_at" → "Departs at"."""
    return name.strip("_").replace("_", " ").capitalize()


class NumberError(ValueError):
    """A number that nothing here holds. Its words may be shown to whoever sent it."""


def parse_number(number: str) -> Decimal:
    """A number of JSON as it is written. Raises NoNumber for an exponent beyond what Decimal
    holds.
    """
    try:
        return Decimal(number)
    except InvalidOperation:
        raise NumberError(text("{number} is out of range", number=number[:40])) from None


def shortest_number(number: int) -> int | float:
    """A whole number of JSON. From 1e21 on, where ECMAScript writes an exponent (ECMA-262,
    Number::toString), it is a float if that has exactly this value: 1e300 is not 301 digits.
    """
    if -_LONG < number < _LONG:
        return number
    with suppress(OverflowError):
        if Decimal(repr(double := float(number))) == number:
            return double
    return number


def _filled(message: str, values: dict[str, object]) -> str:
    """Only names are replaced, so a catalogue reaches no attribute, as str.format would let it."""
    return _PLACE.sub(lambda found: str(values[found[1]]), message) if values else message


def load(folder: Traversable) -> tuple[str, ...]:
    """Read <language>/LC_MESSAGES/messages.mo below `folder`, in place of what was read before.

    Returns the languages, as `languages` does; () if the folder does not exist. Raises ConfigError
    F639 for a file that is not a catalogue.
    """
    global _catalogues
    found: dict[str, gettext.NullTranslations] = {}
    for place in folder.iterdir() if folder.is_dir() else ():
        member = place / "LC_MESSAGES" / "messages.mo"
        if _TAG.fullmatch(place.name) and member.is_file():
            try:
                catalogue = gettext.GNUTranslations(io.BytesIO(member.read_bytes()))
            except Exception as err:  # whatever the unpacking raises
                hint = "compile it anew with msgfmt, or remove it"
                message = f"{member} is not a catalogue of gettext: {err}"
                raise ConfigError(message, code="F639", hint=hint) from err
            found[_tag(place.name)] = catalogue
    _catalogues = dict(sorted(found.items()))
    LANGUAGES[:] = _catalogues
    return languages()


def languages() -> tuple[str, ...]:
    """The languages that have a catalogue, in order of their tags; () means English only."""
    return tuple(LANGUAGES)


def current_language() -> str:
    """The language of this context; "" is English."""
    return _current.get()


@contextmanager
def in_language(language: str) -> Iterator[None]:
    """Run the block in a language; one without a catalogue, and "", give English."""
    token = _current.set(_tag(language))
    try:
        yield
    finally:
        _current.reset(token)


def negotiate(accepted: str) -> str:
    """The known language that fits best, or "".

    accepted: the value of Accept-Language (RFC 9110 section 12.5.4), or one tag. Each range is
    looked up as in RFC 4647 section 3.4 ("de-CH" finds "de"), then as a prefix ("pt" finds
    "pt-br"). What cannot be read is left out.
    """
    for wanted in _ranges(accepted) if _catalogues else ():
        language = wanted
        while language and language not in _catalogues:
            if language in ("en", "*"):
                return ""
            language = language.rpartition("-")[0]
        close = language or next((k for k in _catalogues if k.startswith(wanted + "-")), "")
        if close:
            return close
    return ""


@lru_cache(256)
def _ranges(accepted: str) -> tuple[str, ...]:
    """The ranges in lower case, the most wanted first, without those of weight 0."""
    first = islice(preferences(accepted.replace("_", "-")), 20)  # browsers send six
    found = [(weight, name) for name, given, weight in first if weight and not given]
    found.sort(key=lambda one: -one[0])
    return tuple(name for _, name in found)


def preferences(header: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Each item of Accept, Accept-Encoding or Accept-Language in lower case: name, parameters and
    weight; 0 for a malformed one (RFC 9110 section 12.4.2).
    """
    for item in header.lower().split(","):
        name, *rest = (part.strip() for part in item.split(";"))
        pairs = (part.partition("=") for part in rest)
        given = {key.strip(): value.strip(' "') for key, _, value in pairs}
        weight = given.pop("q", "1")
        yield name, given, float(weight) if _WEIGHT.fullmatch(weight) else 0.0


def _tag(language: str) -> str:
    return language.replace("_", "-").lower()
