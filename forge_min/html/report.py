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

from ..actions import EXACT, Column
from ..errors import NotFound
from ..i18n import gettext_noop, text
from ..wsgi import Raw, Request, Response, first, user_zone
from .cells import Cells, PagePaths
from .fields import AnyActions, FormField, display_fields, label_of
from .layout import REPORTS, Hyperlink, Layout
from .lists import csv_response
from .templates import WORDS, index
from .templates import chart as chart_page
from .templates import report as report_page

Groups = Sequence[dict[str, Any]]  # as of `Actions.aggregate`
_NUMBERS = (int, float, Decimal)
COLOURS = 12  # in forge.css
LABELS = 12  # of an axis, at most
_FUNCTIONS = {
    "day": gettext_noop("day"), "week": gettext_noop("week"), "month": gettext_noop("month"),
    "year": gettext_noop("year"), "sum": gettext_noop("sum"), "avg": gettext_noop("average"),
    "min": gettext_noop("smallest"), "max": gettext_noop("largest"), "count": gettext_noop("Count"),
}  # fmt: skip


def list_reports(layout: Layout, request: Request) -> Response:
    """Show links to the reports that the user may read."""
    names = layout.reports()
    links = [Hyperlink(label_of(name), f"{request.root}{REPORTS}/{name}") for name in names]
    title = text("Reports")
    return layout.page(request, index.render, title, project=title, items=links)


def show_report(layout: Layout, request: Request) -> Response:
    """Show a report; send it as CSV if .csv follows its name."""
    name, _, suffix = request.params["name"].partition(".")
    declared = layout.declared_reports()
    if name not in declared or suffix not in ("", "csv"):
        raise NotFound(text("nothing is at this address"))
    actions, zone = declared[name], first(request.query, "zone") or str(user_zone())
    if suffix:
        report = actions.resource.reports[name]
        terms = [*report.group, *report.measures]
        return csv_of(actions, name, terms, actions.report(name, zone=zone))
    context = report_content(actions, name, layout.paths(), request.root, zone)
    context["csv"] = f"{request.root}{REPORTS}/{name}.csv?{urlencode({'zone': zone})}"
    context["empty"] = text("No matching rows.")
    return layout.page(request, report_page.render, label_of(name), **context)


def report_content(
    actions: AnyActions, name: str, paths: PagePaths, root: str, zone: str
) -> dict[str, Any]:
    """Return the variables of a report's table and chart."""
    groups, report = actions.report(name, zone=zone), actions.resource.reports[name]
    keys, measures = _fields(actions, report.group), _fields(actions, report.measures)
    rows = _rows(actions, [{n: _short(n, v) for n, v in group.items()} for group in groups])
    cells, lines = Cells(actions, rows, keys, paths, root), list[Item]()
    for row, group in zip(rows, groups, strict=True):
        shown = [[cells.show(row, field) for field in fields] for fields in (keys, measures)]
        lines.append(Item(keys=shown[0], values=shown[1], value=group[report.measures[0]]))
    if keys[0].relation:
        lines.sort(key=lambda line: _plain(line.keys[0]))
    points = [([*map(_plain, line.keys)], line.value) for line in lines]
    zoned = any(field.kind == "datetime" and "(" in field.name for field in keys)
    context: dict[str, Any] = {"keys": keys, "measures": measures, "rows": lines}
    drawn, title = chart(report.chart, points), label_of(name)
    figure = {"id": f"chart-{name}", "title": title, "measure": measures[0].label, "words": WORDS}
    context["chart"] = Raw(chart_page.render(chart=drawn, **figure) if drawn else "")
    context["zone"] = text("Time zone: {zone}", zone=zone) if zoned else ""
    return context


def aggregate_csv(actions: AnyActions, request: Request) -> Response:
    """Handle a request for an aggregate as CSV."""
    actions.allow("read")
    query = actions.aggregate_query(request.query)
    return csv_of(actions, "aggregate", [*query.group, *query.measures], actions.aggregate(query))


def csv_of(actions: AnyActions, name: str, terms: Sequence[str], groups: Groups) -> Response:
    """Return groups as CSV. terms: the group keys and the measures."""
    return csv_response(actions, name, _fields(actions, terms), iter([_rows(actions, groups)]))


def _fields(actions: AnyActions, terms: Sequence[str]) -> list[FormField]:
    """Group keys and measures as fields of `_rows`."""
    known = {field.name: field for field in display_fields(actions.resource)}
    fields = []
    for name in terms:
        function, _, source = name.rstrip(")").rpartition("(")
        field = known.get(source) or FormField(source, "int")
        label = f"{field.label} ({text(_FUNCTIONS[function])})" if function else field.label
        fields.append(field._replace(name=name, column=Column(name, field.kind, label=label)))
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
    if isinstance(value, Decimal) and name.startswith("avg("):
        return value.quantize(Decimal("0.01"), context=EXACT)
    return value


def _plain(cell: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", cell))


def chart(kind: str, points: Sequence[tuple[Sequence[str], Any]]) -> Item | None:
    """Return the shapes of a chart for report.html, None without a number to draw.

    A first key is one unit wide, and the chart is one unit high: the browser scales it.

    kind: of `schema.report`.
    points: the keys of a group as texts, and its value.
    """
    drawn = [((*k, "")[:2], v) for k, v in points if isinstance(v, _NUMBERS) and isfinite(v)]
    if not drawn:
        return None
    places = {place: n for n, place in enumerate(dict.fromkeys(keys[0] for keys, _ in points))}
    names = enumerate(dict.fromkeys(keys[1] for keys, _ in drawn))
    series = {name: Item(name=name, number=n, style=n % COLOURS, path="") for n, name in names}
    width = 0.8 / (1 if kind == "stacked" else len(series))
    # The ends of bars so far; groups of the same label are on top of each other, too.
    stacks: dict[tuple[str, str, bool], float] = defaultdict(float)
    bars = []
    for (place, name), value in drawn:
        stack = (place, "" if kind == "stacked" else name, value < 0)
        title = f"{', '.join(filter(None, (place, name)))}: {value}"
        bars.append(Item(place=places[place], one=series[name], start=stacks[stack], title=title))
        bars[-1].end = stacks[stack] = stacks[stack] + float(value)
    ends = [0.0, *(bar.end for bar in bars)]
    top, low, step = max(ends) if any(ends) else 1.0, min(ends), ceil(len(places) / LABELS)
    unit = top - low
    for bar in bars:
        bar.style, bar.width = bar.one.style, width
        bar.x = bar.place + 0.1 + (kind == "bar") * bar.one.number * width
        bar.y, bar.height = -max(bar.start, bar.end) / unit, abs(bar.end - bar.start) / unit
        bar.one.path += f"{'L' if bar.one.path else 'M'}{bar.place + 0.5} {-bar.end / unit}"
    return Item(
        kind=kind,
        box=f"0 {-top / unit} {len(places)} 1",  # browsers limit coordinates
        across=len(places),
        ends=(f"{top:.12g}", f"{low:.12g}"),
        bars=() if kind == "line" else bars,
        lines=series.values() if kind == "line" else (),
        labels=[place if n % step == 0 else "" for place, n in places.items()],
        legend=[one for one in series.values() if one.name],
    )
