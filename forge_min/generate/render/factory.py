"""gen/<r>/factory.py: a valid value for every field that a create must give, as plain code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil, floor

from ...parse.ir import TYPES, ColumnIR, ResourceIR
from .fill import common, fill, imports, lines
from .shape import KINDS, MODULES, Shape


def factory(shape: Shape, resources: Mapping[str, ResourceIR]) -> str:
    """The file's text. resources: all of them by name."""
    items, wanted = [], [("typing", "Any")]
    for column in shape.written:
        if column.needed:
            value = _value(column, shape.resource, resources)
            items.append(
                f'"{column.column}": {value},' if value else f"# {column.column}: to be given"
            )
            if KINDS[column.type].value or column.type == "decimal":
                names = re.findall(r"\w+", value)
                wanted += [(MODULES[name], name) for name in names if name in MODULES]
    inside = f"\n{lines(items, 12)}\n        " if items else ""
    words = {"imports": "\n".join(imports(wanted)), "items": inside}
    return fill("factory.py", common(shape.resource) | words)


def _value(column: ColumnIR, resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> str:
    """An expression of n, different for each n where it can be; "" where only a person knows."""
    kind = KINDS[column.type]
    if column.target:
        target = resources[column.target]
        return "" if target is resource else f'self.related("{target.table}")'
    if column.pattern is not None:
        return ""
    if kind.value:
        return "n % 2 == 1" if column.type == "bool" and column.unique else kind.value
    if column.type == "enum":
        several = f"{column.choices!r}[n % {len(column.choices)}]"
        return several if column.unique else repr(column.choices[0])
    return _text(column, *kind.around) if kind.around else _number(column)


def _number(field: ColumnIR) -> str:
    _, most = TYPES[field.type]["limits"]["max"]
    if field.precision:
        digits, after = field.precision
        most = 10 ** (digits - after) - 1
        if digits == after and field.min is None and field.max is None:
            return f"Decimal(n % {10**after}).scaleb(-{after})"
    high = most if field.max is None else min(floor(field.max), most)
    low = min(1, high) if field.min is None else max(ceil(field.min), -most)
    if low > high:  # between two fractions lies no whole number
        return f'Decimal("{field.min}")'
    value = f"{low} + n % {high - low + 1}" if low else f"n % {high + 1}"
    return f"Decimal({value})" if field.type == "decimal" else value


def _text(field: ColumnIR, before: str, after: str) -> str:
    """The field's name and n, made to fit; n alone where that is too long."""
    between = " " if before == "{} " else "-"
    before = before.format(re.sub("_+", between, field.name[:30]).strip(between))
    most, least = field.longest, field.min_len or 0
    if most is None or len(before) + len(after) + 9 <= most:
        width = least - len(before) - len(after)
        long = field.type == "email" and len(before) + max(width, 9) > 64
        return "" if long else f'f"{before}{{n{f":0{width}" if width > 1 else ""}}}{after}"'
    if field.type in ("email", "url"):
        return ""
    return f'f"{{n:0{max(least, min(most, 6))}}}"[-{most}:]'
