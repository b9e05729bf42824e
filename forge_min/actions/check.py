"""The validator that generated code drives, one line per field: collects every wrong value, never
the first only.

def check(c: Check) -> None:
    c.string("code", required=True, max_len=2)
    c.int("seats", min=1)
    c.unknown()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ..errors import FieldError, Invalid
from .values import TYPES

_MISSING = object()

# The methods below are named after the schema's types and hide the built-in names inside the class.
_Int = int
_Bool = bool


class Check:
    """Reads `data` (a JSON object, field → value) into `values` (column → Python value).

    partial: a PATCH: what is absent stays absent, and null is a value. Otherwise what is absent
    gets its default or NULL. Lengths are in characters.
    """

    __slots__ = ("_seen", "data", "errors", "partial", "values")

    def __init__(self, data: Mapping[str, object], *, partial: _Bool = False) -> None:
        self.data = data
        self.partial = partial
        self.values: dict[str, Any] = {}
        self.errors: list[FieldError] = []
        self._seen: set[str] = set()

    def error(self, name: str, code: str, message: str) -> None:
        """Note a wrong value. name: the field; it becomes an RFC 6901 pointer."""
        pointer = "/" + name.replace("~", "~0").replace("/", "~1")
        self.errors.append(FieldError(pointer, code, message))

    def string(self, name: str, *, min_len: _Int = 0, max_len: _Int = 0, **rules: Any) -> None:
        """Characters. max_len 0 = no limit."""
        value = self._read(name, "string", **rules)
        if value is None:
            return
        if max_len and len(value) > max_len:
            self.error(name, "too_long", f"must have at most {max_len} characters")
        elif len(value) < min_len:
            self.error(name, "too_short", f"must have at least {min_len} characters")

    text = string

    def int(
        self, name: str, *, min: _Int | None = None, max: _Int | None = None, **rules: Any
    ) -> None:
        """A whole number of 32 bits."""
        self._range(name, self._read(name, "int", **rules), min, max)

    def decimal(
        self,
        name: str,
        *,
        precision: tuple[_Int, _Int] | None = None,
        min: _Int | None = None,
        max: _Int | None = None,
        **rules: Any,
    ) -> None:
        """An exact number. precision: digits in all, and of those after the point; None: any."""
        value = self._read(name, "decimal", **rules)
        if value is None:
            return
        if precision and not fits(value, *precision):
            digits, scale = precision
            self.error(
                name,
                "out_of_range",
                f"must have at most {digits - scale} digits before and {scale} after the point",
            )
        else:
            self._range(name, value, min, max)

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
            self.error(name, "not_a_choice", "must be one of " + ", ".join(choices))

    def unknown(self) -> None:
        """Refuse every field of the data that no line above has read."""
        for name in self.data:
            if name not in self._seen:
                self.error(str(name), "unknown", "is not a field of this resource")

    def result(self) -> dict[str, Any]:
        """The values by column. Raises Invalid with every error found."""
        if self.errors:
            raise Invalid(self.errors)
        return self.values

    def _read(
        self, name: str, type_name: str, *, required: _Bool = False, default: object = None
    ) -> Any:
        self._seen.add(name)
        given = self.data.get(name, _MISSING)
        if given is _MISSING:
            if self.partial:
                return None
            if default is None:
                if required:
                    self.error(name, "required", "is required")
                self.values[name] = None
                return None
            given = default
        if given is None:
            if required:
                self.error(name, "required", "must not be null")
            self.values[name] = None
            return None
        try:
            value = TYPES[type_name].read(given)
        except ValueError as err:
            self.error(name, "type", str(err))
            return None
        self.values[name] = value
        return value

    def _range(self, name: str, value: Any, low: Any, high: Any) -> None:
        if value is None:
            return
        if low is not None and value < low:
            self.error(name, "too_small", f"must be at least {low}")
        elif high is not None and value > high:
            self.error(name, "too_large", f"must be at most {high}")


def fits(value: Decimal, digits: _Int, scale: _Int) -> _Bool:
    """Whether numeric(digits, scale) holds `value` exactly (PostgreSQL manual, 8.1.2)."""
    _, figures, exponent = value.as_tuple()
    if not isinstance(exponent, _Int):
        return False
    while exponent < 0 and figures and figures[-1] == 0:
        figures, exponent = figures[:-1], exponent + 1
    return -exponent <= scale and (value == 0 or value.adjusted() + 1 <= digits - scale)
