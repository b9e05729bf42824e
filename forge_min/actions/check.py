"""The validator that generated code drives, one line per field: collects every wrong value, never
the first only.

def check(c: Check) -> None:
    c.string("code", required=True, max_len=2)
    c.int("seats", min=1)
    c.many("tag_ids", "uuid")
    c.unknown()
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Context, Decimal
from functools import partial
from typing import Any, Literal, cast

from psycopg.types.json import Jsonb

from ..errors import FieldError, Invalid
from ..i18n import text
from .values import TYPES, fits_json, to_text

Operation = Literal["create", "update", "replace"]


class KeyChanges(list[Any]):
    """The keys of a many_to_many field as the client wants them, made from the keys it has seen.

    An update adds and removes only the difference between the two, so links that others write
    meanwhile stay as they are.

    seen: the keys that the client was shown.
    """

    def __init__(self, keys: Iterable[Any], seen: Iterable[Any]) -> None:
        super().__init__(keys)
        self.seen = list(seen)


def pointer(*steps: object) -> str:
    """The RFC 6901 pointer of a field, or of an entry in its list."""
    escaped = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return "/" + "/".join(escaped)


MOST_KEYS = 1000
"""That a many field takes; more are a bulk operation of their own."""

_ANY = (2000, 1000)  # digits of a decimal without precision, as values.py reads them
_EXPONENT = 16_383  # the largest that PostgreSQL reads, of a zero too (manual, 8.1.2)
_EXACT = Context(prec=200_000)

# The methods below are named after the schema's types and hide the built-in name inside the class.
_Int = int


class Check:
    """Reads `data` (a JSON object, or the same as Python values; field → value) into `values`
    (column → Python value).

    operation: "update" is a PATCH: what is absent stays absent (`partial`), and null is a value.
    Otherwise what is absent gets its default or NULL; but what is `locked` stays absent. id: the
    key of the row that is changed, None for a create. Every method for a value takes `required` and
    `default`. Lengths are in characters. max_json: bytes of a JSON value as PostgreSQL writes it.
    """

    def __init__(
        self,
        data: Mapping[str, object],
        *,
        operation: Operation = "create",
        id: object = None,
        locked: Collection[str] = (),
        max_json: _Int = 1 << 20,
    ) -> None:
        self.data = data
        self.operation = operation
        self.partial = operation == "update"
        self.id = id
        self.locked = locked
        self.max_json = max_json
        self.values: dict[str, Any] = {}
        self.errors: list[FieldError] = []
        self._seen: set[str] = set()
        self._json: list[str] = []

    def error(self, name: str, code: str, message: str, *place: _Int) -> None:
        """Note a wrong value. name: the field; it becomes an RFC 6901 pointer. place: in its
        list, from 0.
        """
        self.errors.append(FieldError(pointer(name, *place), code, message))

    def string(
        self, name: str, *, min_len: _Int = 0, max_len: _Int = 0, pattern: str = "", **rules: Any
    ) -> None:
        """Characters. max_len 0 = no limit. pattern: what the whole value matches, where letters
        and digits are ASCII's.
        """
        value = self._read(name, **rules)
        if value is None:
            return
        if max_len and len(value) > max_len:
            self.error(name, "too_long", text("must have at most {max} characters", max=max_len))
        elif len(value) < min_len:
            self.error(name, "too_short", text("must have at least {min} characters", min=min_len))
        elif pattern and not re.fullmatch(pattern, value, re.ASCII):
            self.error(name, "pattern", text("must match {pattern}", pattern=pattern))

    text = string

    def slug(self, name: str, *, max_len: _Int = 100, **rules: Any) -> None:
        """Lowercase words of ASCII letters and digits, joined by hyphens."""
        self.string(name, max_len=max_len, type="slug", **rules)

    def email(self, name: str, *, max_len: _Int = 320, **rules: Any) -> None:
        """An address as in RFC 5321 and RFC 6531, without quoting; kept as it is given."""
        self.string(name, max_len=max_len, type="email", **rules)

    def url(self, name: str, *, max_len: _Int = 2048, **rules: Any) -> None:
        """An absolute URL of http or https."""
        self.string(name, max_len=max_len, type="url", **rules)

    def int(self, name: str, *, min: Any = None, max: Any = None, **rules: Any) -> None:
        """A whole number of 32 bits."""
        self._range(name, self._read(name, "int", **rules), min, max)

    def bigint(self, name: str, *, min: Any = None, max: Any = None, **rules: Any) -> None:
        """A whole number of 64 bits."""
        self._range(name, self._read(name, "bigint", **rules), min, max)

    def decimal(
        self, name: str, *, min: Any = None, max: Any = None, precision: Any = None, **rules: Any
    ) -> None:
        """An exact number. precision: (digits in all, those of them after the point); None: any."""
        value = self._read(name, "decimal", **rules)
        digits, after = precision or _ANY
        if value is None or fits(value, digits, after):
            self._range(name, value, min, max)
        else:
            message = text(
                "must have at most {before} digits before and {after} after the point",
                before=digits - after,
                after=after,
            )
            self.error(name, "out_of_range", message)

    def bool(self, name: str, **rules: Any) -> None:
        """true or false."""
        self._read(name, "bool", **rules)

    def datetime(self, name: str, **rules: Any) -> None:
        """RFC 3339 with an offset."""
        self._read(name, "datetime", **rules)

    def date(self, name: str, **rules: Any) -> None:
        """RFC 3339 full-date."""
        self._read(name, "date", **rules)

    def uuid(self, name: str, **rules: Any) -> None:
        """RFC 9562, 36 characters."""
        self._read(name, "uuid", **rules)

    def enum(self, name: str, choices: Sequence[str], **rules: Any) -> None:
        """One of `choices`."""
        value = self._read(name, "enum", **rules)
        if value is not None and value not in choices:
            self.error(name, "not_a_choice", text("must be one of {all}", all=", ".join(choices)))

    def json(self, name: str, **rules: Any) -> None:
        """Any JSON value; null is NULL. In `values` it is plain, in `result()` a Jsonb."""
        value = self._read(name, "json", **rules)
        self._json.append(name)
        if value is not None and not fits_json(value, self.max_json):
            message = text("must have at most {max} bytes, without exponents", max=self.max_json)
            self.error(name, "too_long", message)

    def many(self, name: str, type: str, *, max_len: _Int = 0) -> None:
        """A list of keys, no two the same, at most MOST_KEYS; absent means none. type, max_len:
        theirs.
        """
        self._seen.add(name)
        if name not in self.data and (self.partial or name in self.locked):
            return
        given = self.data.get(name, ())
        if not isinstance(given, (list, tuple)):
            self.error(name, "type", text("must be a list"))
        elif len(given) > MOST_KEYS:
            self.error(name, "too_long", text("must have at most {max} entries", max=MOST_KEYS))
        else:
            keys = self._keys(name, type, given, max_len)
            if isinstance(given, KeyChanges):
                keys = KeyChanges(keys, map(TYPES[type].read, given.seen))
            self.values[name] = keys

    def unknown(self) -> None:
        """Refuse every field of the data that no line above has read; the first hundred are
        named.
        """
        for name in [n for n in self.data if n not in self._seen][:100]:
            self.error(str(name), "unknown", text("is not a field of this resource"))

    def result(self) -> dict[str, Any]:
        """The values by column. Raises Invalid with every error found."""
        if self.errors:
            raise Invalid(self.errors, text("some values are not valid"))
        for name in self._json:
            value = self.values.get(name)  # as it was read, or as a rule of the user's has set it
            if value is not None and not isinstance(value, Jsonb):
                self.values[name] = Jsonb(value)
        return self.values

    def _read(
        self, name: str, type: str = "string", *, required: object = False, default: object = None
    ) -> Any:
        self._seen.add(name)
        if name not in self.data and (self.partial or name in self.locked):
            return None
        value = self.data.get(name, default)
        if value is not None:
            try:
                value = TYPES[type].read(value)
            except ValueError as err:
                self.error(name, "type", str(err))
                return None
        elif required:
            message = text("must not be null") if name in self.data else text("is required")
            self.error(name, "required", message)
        self.values[name] = value
        return value

    def _keys(self, name: str, type: str, given: Sequence[object], most: _Int) -> list[Any]:
        found: dict[Any, None] = {}
        for place, item in enumerate(given):
            try:
                value = TYPES[type].read(item)
                if most and len(value) > most:
                    raise ValueError(text("must have at most {max} characters", max=most))
                if value in found:
                    self.error(name, "duplicate", text("stands twice in the list"), place)
                found[value] = None
            except ValueError as err:
                self.error(name, "type", str(err), place)
        return list(found)

    def _range(self, name: str, value: Any, low: Any, high: Any) -> None:
        if value is not None and low is not None and value < low:
            self.error(name, "too_small", text("must be at least {min}", min=to_text(low)))
        elif value is not None and high is not None and value > high:
            self.error(name, "too_large", text("must be at most {max}", max=to_text(high)))


class _Rules:
    """Stands in for a Check: notes what it is asked to check."""

    def __init__(self) -> None:
        self.rules: dict[str, tuple[str, Mapping[str, Any]]] = {}

    def __getattr__(self, kind: str) -> Any:
        return partial(self._note, kind)

    def _note(self, kind: str, name: str = "", *_: object, **rules: Any) -> None:
        if name:  # not `unknown()`
            self.rules[name] = kind, rules


def rules_of(check: Callable[[Check], None]) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """The fields that a validator reads, each with the name and the options of Check's method."""
    noted = _Rules()
    check(cast(Check, noted))
    return noted.rules


def fits(value: Decimal, digits: int, scale: int) -> bool:
    """Whether numeric(digits, scale) holds `value` exactly (PostgreSQL manual, 8.1.2)."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > _EXPONENT:
        return False  # more than PostgreSQL reads, be it zeros
    small = not value or value.adjusted() < digits - scale
    return small and value == value.quantize(Decimal(1).scaleb(-scale), context=_EXACT)
