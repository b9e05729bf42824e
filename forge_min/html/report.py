"""The pages of reports: a table and a chart of groups of rows, and groups as CSV."""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from math import ceil, isfinite
from types import SimpleNamespace as Item
from typing import Any
from urllib.parse import urlencode

from ..actions import Column
from ..errors import NotFound
from ..i18n import gettext_noop, text
from ..wsgi import Request, Response, first, user_zone
from .cells import Cells
from .fields import AnyActions, FormField, display_fields, label_of
from .layout import REPORTS, Hyperlink, Layout
from .list_page import csv_blocks, csv_response
from .templates import index
from .templates import report as report_page

Groups = Sequence[dict[str, Any]]  # as of `Actions.aggregate`
COLOURS = 12  # in forge.css
LABELS = 12  # of an axis, at most
_PERIODS = {
    "day": gettext_noop("day"), "week": gettext_noop("week"),
    "month": gettext_noop("month"), "year": gettext_noop("year"),
}  # fmt: skip
_FUNCTIONS = _PERIODS | {
    "sum": gettext_noop("sum"), "avg": gettext_noop("average"), "min": gettext_noop("smallest"),
    "max": gettext_noop("largest"), "count": gettext_noop("Count"),
}  # fmt: skip


class ReportPages:
    """Handlers of the reports of all resources that have pages."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def list(self, request: Request) -> Response:
        """Show links to the reports that the user may read."""
        names = self._layout.reports()
        links = [Hyperlink(label_of(name), f"{request.root}{REPORTS}/{name}") for name in names]
        title = text("Reports")
        return self._layout.page(request, index.render, title, project=title, items=links)

    def show(self, request: Request) -> Response:
        """Show a report; send it as CSV if .csv follows its name."""
        name, _, suffix = request.params["name"].partition(".")
        resources = self._layout.resources
        declared = {n: actions for actions in resources.values() for n in actions.resource.reports}
        if name not in declared or suffix not in ("", "csv"):
            raise NotFound(text("nothing is at this address"))
        actions, zone = declared[name], first(request.query, "zone") or str(user_zone())
        groups, report = actions.report(name, zone=zone), actions.resource.reports[name]
        if suffix:
            return csv_of(actions, name, [*report.group, *report.measures], groups)
        keys, measures = _fields(actions, report.group), _fields(actions, report.measures)
        rows = _rows(actions, [{n: _short(n, v) for n, v in group.items()} for group in groups])
        paths = {actions.resource.topic: path for path, actions in resources.items()}
        cells = Cells(actions, rows, keys, paths, request.root)
        lines = [
            Item(
                keys=[cells.show(row, field) for field in keys],
                values=[cells.show(row, field) for field in measures],
                value=group[report.measures[0]],
            )
            for row, group in zip(rows, groups, strict=True)
        ]
        if keys[0].relation:
            lines.sort(key=lambda line: _plain(line.keys[0]))
        points = [([*map(_plain, line.keys)], line.value) for line in lines]
        context: dict[str, Any] = {"keys": keys, "measures": measures, "rows": lines}
        context |= {"chart": chart(report.chart, points), "measure": measures[0].label}
        context |= {
            "zone": text("Time zone: {zone}", zone=zone),
            "zoned": "(" in "".join(report.group),
        }
        context |= {"csv": f"{request.root}{REPORTS}/{name}.csv?{urlencode({'zone': zone})}"}
        context |= {"empty": text("No matching rows.")}
        return self._layout.page(request, report_page.render, label_of(name), **context)


def csv_of(actions: AnyActions, name: str, terms: Sequence[str], groups: Groups) -> Response:
    """Return groups as CSV. terms: the group keys and the measures."""
    fields = _fields(actions, terms)
    return csv_response(name, csv_blocks(actions, iter([_rows(actions, groups)]), fields))


def _fields(actions: AnyActions, terms: Sequence[str]) -> list[FormField]:
    """Group keys and measures as fields of `_rows`."""
    known = {field.name: field for field in display_fields(actions.resource)}
    fields = []
    for name in terms:
        function, _, source = name.rstrip(")").rpartition("(")
        field = known.get(source) or FormField(source, "int")
        label = f"{field.label} ({text(_FUNCTIONS[function])})" if function else field.label
        kind = "date" if function in _PERIODS else field.kind
        fields.append(field._replace(name=name, kind=kind, column=Column(name, kind, label=label)))
    return fields


def _rows(actions: AnyActions, groups: Groups) -> list[Any]:
    """Groups as rows with different keys, for `Cells`."""
    key = actions.resource.key
    return [Item(**{**item, key.attribute or key.name: n}) for n, item in enumerate(groups)]


def _short(name: str, value: Any) -> Any:
    """A month or year without a day; an average with two decimals."""
    length = {"month": 7, "year": 4}.get(name.partition("(")[0])
    if length and value:
        return str(value)[:length]
    return round(value, 2) if value is not None and name.startswith("avg(") else value


def _plain(cell: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", cell))


def chart(kind: str, points: Sequence[tuple[Sequence[str], Any]]) -> Item | None:
    """Return the shapes of a chart for report.html, None without a number to draw.

    A first key is one unit wide, and a value is its height: the browser scales them.

    kind: of `schema.report`.
    points: the keys of a group as texts, and its value.
    """
    drawn = [((*k, "")[:2], v) for k, v in points if isinstance(v, int | Decimal) and isfinite(v)]
    places = {place: n for n, place in enumerate(dict.fromkeys(keys[0] for keys, _ in points))}
    series = {name: n for n, name in enumerate(dict.fromkeys(keys[1] for keys, _ in drawn))}
    if not drawn:
        return None
    ends: dict[tuple[int, int], float] = defaultdict(float)  # of the stacks
    bars, lines = [], defaultdict(list)
    for (place, name), value in drawn:
        n, s = places[place], series[name]
        stack = (n, value < 0 if kind == "stacked" else s)
        end, width = ends[stack] + float(value), 1 if kind == "stacked" else len(series)
        title = f"{', '.join(filter(None, (place, name)))}: {value}"
        bar = Item(style=s % COLOURS, width=0.8 / width, height=abs(float(value)), title=title)
        bar.x, bar.y = n + 0.1 + s % width * bar.width, -max(ends[stack], end)
        bars.append(bar)
        lines[s].append(f"{n + 0.5} {-end}")
        ends[stack] = end
    top, low = max([0, *ends.values()]), min([0, *ends.values()])
    step, is_line = ceil(len(places) / LABELS), kind == "line"
    return Item(
        box=f"0 {-top} {len(places)} {top - low or 1}",
        across=len(places),
        top=f"{top:.12g}",
        low=f"{low:.12g}",
        bars=() if is_line else bars,
        lines=[Item(style=s % COLOURS, d="L".join(d)) for s, d in lines.items() if is_line],
        labels=[place if n % step == 0 else "" for place, n in places.items()],
        series=[Item(name=name, style=n % COLOURS) for name, n in series.items() if name],
    )
