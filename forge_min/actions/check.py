"""The validator that generated code drives, one line per field.

It collects every error instead of stopping at the first one.

def check(c: Check) -> None:
    c.string("code", required=True, max_len=2)
    c.int("seats", min=1)
    c.many("tag_ids", "uuid")
    c.unknown()
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Literal, cast

from psycopg.types.json import Jsonb

from ..errors import FieldError, Invalid
from ..i18n import text
from .conditions import evaluate
from .values import EXACT, TYPES, fits_json, limit_of, to_text

Operation = Literal["create", "update", "replace"]


class KeyChanges(list[Any]):
    """The new keys of a many_to_many field, from a client that knows its earlier keys.

    An update writes only the difference between the two, so links that other clients write in the
    meantime stay.

    keys: the new keys.
    seen: the keys that the client received.
    """

    def __init__(self, keys: Iterable[Any], seen: Iterable[Any]) -> None:
        super().__init__(keys)
        self.seen = list(seen)


def pointer(*steps: object) -> str:
    """Return the RFC 6901 pointer of a field, or of an entry in its list."""
    escaped = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return "/" + "/".join(escaped)


def invalid(errors: Sequence[FieldError]) -> Invalid:
    """Return the error of a write with wrong fields."""
    return Invalid(errors, text("some values are not valid"))


MOST_KEYS = 1000
"""The keys that a many field takes; more need a bulk operation of their own."""

_ANY = (2000, 1000)  # digits of a decimal without precision, as values.py reads them
_EXPONENT = 16_383  # the largest that PostgreSQL reads, even of a zero (manual, 8.1.2)


# The methods below are named after the schema's types and hide the built-in name inside the class.
_Int = int


def _ranged(type: str) -> Callable[..., None]:
    """Return a method of Check: it reads a value between two limits.

    The limits may be relative to the current time.
    """

    def read(check: Check, name: str, *, min: Any = None, max: Any = None, **rules: Any) -> None:
        value = check._read(name, type, **rules)
        check._range(name, value, limit_of(type, min), limit_of(type, max))

    return read


def _text(type: str, longest: int) -> Callable[..., None]:
    """Return a method of Check: it reads a string of this type, by default up to a length."""

    def read(check: Check, name: str, *, max_len: int = longest, **rules: Any) -> None:
        check.string(name, max_len=max_len, type=type, **rules)

    return read


class Check:
    """Reads `data` (field → value) into `values` (column → Python value).

    data: a JSON object, or the same with Python values.
    operation: in an "update" (a PATCH), absent fields stay absent (`partial`), and null is a value.
        Otherwise an absent field gets its default or NULL, unless it is `locked`.
    id: the key of the row that is changed, None for a create.
    locked: the fields that stay absent.
    max_json: bytes of a JSON value in PostgreSQL's spelling.
    hints: field → (help, placeholder) of the schema, for the message of a pattern.

    Every method for a value takes `required` and `default`. Lengths are in characters.
    """

    def __init__(
        self,
        data: Mapping[str, object],
        *,
        operation: Operation = "create",
        id: object = None,
        locked: Collection[str] = (),
        max_json: _Int = 1 << 20,
        hints: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self.data = data
        self.operation = operation
        self.partial = operation == "update"
        self.id = id
        self.locked = locked
        self.max_json = max_json
        self._hints = hints or {}
        self.values: dict[str, Any] = {}
        self.errors: list[FieldError] = []
        self._seen: set[str] = set()
        self._json: list[str] = []

    def error(self, name: str, code: str, message: str, *index: _Int) -> None:
        """Record an error of a value.

        name: the field.
        code: for programs, in snake case.
        message: for people, without the name of the field.
        index: of the entry in the field's list, from 0, if there is a list.
        """
        self.errors.append(FieldError(pointer(name, *index), code, message))

    def string(
        self, name: str, *, min_len: _Int = 0, max_len: _Int = 0, pattern: str = "", **rules: Any
    ) -> None:
        """Read a string.

        max_len: 0 means no limit.
        pattern: a regular expression that the whole value must match; its classes are ASCII.
        """
        value = self._read(name, **rules)
        if value is None:
            return
        if max_len and len(value) > max_len:
            self.error(name, "too_long", text("must have at most {max} characters", max=max_len))
        elif len(value) < min_len:
            self.error(name, "too_short", text("must have {min} or more characters", min=min_len))
        elif pattern and not re.fullmatch(pattern, value, re.ASCII):
            self.error(name, "pattern", self._form_message(name))

    text = string

    slug = _text("slug", 100)
    """Read lower-case words of ASCII letters and digits, joined by hyphens."""
    email = _text("email", 320)
    """Read an address of RFC 5321 and RFC 6531, without quoting; its spelling is kept."""
    url = _text("url", 2048)
    """Read an absolute URL of http or https."""

    def decimal(
        self, name: str, *, min: Any = None, max: Any = None, precision: Any = None, **rules: Any
    ) -> None:
        """Read an exact number.

        precision: (digits, digits after the point); None means any.
        """
        value = self._read(name, "decimal", **rules)
        digits, after = precision or _ANY
        if value is None or fits(value, digits, after):
            self._range(name, value, min, max)
        else:
            message = text(
                "must have at most {before} digits before the decimal point and {after} after it",
                before=digits - after,
                after=after,
            )
            self.error(name, "out_of_range", message)

    def bool(self, name: str, **rules: Any) -> None:
        """Read true or false."""
        self._read(name, "bool", **rules)

    int = _ranged("int")
    """Read a whole number of 32 bits."""
    bigint = _ranged("bigint")
    """Read a whole number of 64 bits."""
    float = _ranged("float")
    """Read a number of 64 bits; not NaN, not infinite."""
    datetime = _ranged("datetime")
    """Read a time of RFC 3339 with an offset."""
    date = _ranged("date")
    """Read a full-date of RFC 3339."""
    time = _ranged("time")
    """Read a partial-time of RFC 3339."""
    duration = _ranged("duration")
    """Read a duration of ISO 8601 without years and months."""

    def uuid(self, name: str, **rules: Any) -> None:
        """Read a UUID of RFC 9562, 36 characters."""
        self._read(name, "uuid", **rules)

    def enum(self, name: str, choices: Sequence[str], **rules: Any) -> None:
        """Read one of `choices`."""
        value = self._read(name, "enum", **rules)
        if value is not None and value not in choices:
            self.error(name, "not_a_choice", text("must be one of {all}", all=", ".join(choices)))

    def array(
        self, name: str, of: str, choices: Sequence[str] = (), *, max_items: _Int, **rules: Any
    ) -> None:
        """Read a list of values of the type `of`, with at most `max_items` entries."""
        values = self._read(name, f"{of}[]", **rules) or []
        if len(values) > max_items:
            self.error(name, "too_long", text("must have at most {max} entries", max=max_items))
        wrong = len(self.errors)
        for index, value in enumerate(values[:max_items]):
            try:
                values[index] = TYPES[of].read(value)
            except ValueError as err:
                self.error(name, "type", str(err), index)
            else:
                if choices and value not in choices:
                    message = text("must be one of {all}", all=", ".join(choices))
                    self.error(name, "not_a_choice", message, index)
        if len(self.errors) > wrong:
            self.values.pop(name, None)

    def json(self, name: str, **rules: Any) -> None:
        """Read any JSON value; null is NULL. It is plain in `values`, a Jsonb in `result()`."""
        value = self._read(name, "json", **rules)
        self._json.append(name)
        if value is not None and not fits_json(value, self.max_json):
            message = text(
                "must have at most {max} bytes, with numbers written out", max=self.max_json
            )
            self.error(name, "too_long", message)

    def many(self, name: str, type: str, *, max_len: _Int = 0) -> None:
        """Read a list of different keys, at most MOST_KEYS; an absent list is empty.

        type, max_len: of the keys.
        """
        self._seen.add(name)
        if name not in self.data and (self.partial or name in self.locked):
            return
        items = self.data.get(name, ())
        if not isinstance(items, (list, tuple)):
            self.error(name, "type", text("must be a list"))
        elif len(items) > MOST_KEYS:
            self.error(name, "too_long", text("must have at most {max} entries", max=MOST_KEYS))
        else:
            keys = self._keys(name, type, items, max_len)
            if isinstance(items, KeyChanges):
                keys = KeyChanges(keys, map(TYPES[type].read, items.seen))
            self.values[name] = keys

    def condition(self, fields: Sequence[str], condition: str, message: str) -> None:
        """Check a condition of the schema, if all of its fields are known and valid.

        Otherwise PostgreSQL checks it when the row is written.
        """
        wrong = {error.pointer for error in self.errors}
        for name in fields:
            if name not in self.values or pointer(name) in wrong:
                return
        if evaluate(condition, self.values) is False:
            for name in fields:
                self.error(name, "condition", text(message))

    def unknown(self) -> None:
        """Reject the fields of the data that were not read; it names at most a hundred."""
        unknown = [name for name in self.data if name not in self._seen]
        for name in unknown[:100]:
            self.error(str(name), "unknown", text("is not a field of this resource"))

    def result(self) -> dict[str, Any]:
        """Return the values by column. Raises Invalid with all errors."""
        if self.errors:
            raise invalid(self.errors)
        for name in self._json:
            value = self.values.get(name)  # it was read, or set by the project's `validate`
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
            message = text("is required")
            if name in self.data:
                message = text("must not be empty (null)")
            self.error(name, "required", message)
        self.values[name] = value
        return value

    def _form_message(self, name: str) -> str:
        """The message for a value that does not match the pattern, in the words of the schema."""
        help, placeholder = self._hints.get(name, ("", ""))
        if help:
            return text("does not have the expected form: {help}", help=text(help))
        if placeholder:
            example = text(placeholder)
            return text("does not have the expected form, for example {example}", example=example)
        return text("does not have the expected form")

    def _keys(self, name: str, type: str, items: Sequence[object], max_len: _Int) -> list[Any]:
        keys: dict[Any, None] = {}
        for index, item in enumerate(items):
            try:
                value = TYPES[type].read(item)
                if max_len and len(value) > max_len:
                    raise ValueError(text("must have at most {max} characters", max=max_len))
                if value in keys:
                    self.error(name, "duplicate", text("is in the list twice"), index)
                keys[value] = None
            except ValueError as err:
                self.error(name, "type", str(err), index)
        return list(keys)

    def _range(self, name: str, value: Any, low: Any, high: Any) -> None:
        if value is None:
            return
        if low is not None and value < low:
            self.error(name, "too_small", text("must be at least {min}", min=to_text(low)))
        elif high is not None and value > high:
            self.error(name, "too_large", text("must be at most {max}", max=to_text(high)))


class _Rules:
    """Passed to a validator as a Check, it records the fields and rules."""

    def __init__(self) -> None:
        self.rules: dict[str, tuple[str, Mapping[str, Any]]] = {}

    def __getattr__(self, kind: str) -> Any:
        return partial(self._note, kind)

    def _note(self, kind: str, name: object = None, *_: object, **rules: Any) -> None:
        if isinstance(name, str):  # not `unknown()`, nor a condition about several fields
            self.rules[name] = (kind, rules)


def rules_of(check: Callable[[Check], None]) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """Return the fields that a validator reads.

    The result is field → (name of Check's method, its keyword arguments).
    """
    recorder = _Rules()
    check(cast(Check, recorder))
    return recorder.rules


def fits(value: Decimal, digits: int, scale: int) -> bool:
    """Whether numeric(digits, scale) holds `value` exactly (PostgreSQL manual, 8.1.2)."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > _EXPONENT:
        return False  # more than PostgreSQL reads, even if they are zeros
    if value and value.adjusted() >= digits - scale:
        return False
    smallest = Decimal(1).scaleb(-scale)
    return value == value.quantize(smallest, context=EXACT)
