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
_WIDTHS = {"month": 7, "year": 4}  # characters of a date
_FUNCTIONS = {
    "day": gettext_noop("day"), "week": gettext_noop("week"), "month": gettext_noop("month"),
    "year": gettext_noop("year"), "sum": gettext_noop("sum"), "avg": gettext_noop("average"),
    "min": gettext_noop("smallest"), "max": gettext_noop("largest"), "count": gettext_noop("Count"),
}  # fmt: skip


def list_reports(layout: Layout, request: Request) -> Response:
    """Show links to the reports that the user may read."""
    url = request.root + REPORTS
    links = [Hyperlink(label_of(name), f"{url}/{name}") for name in layout.reports()]
    title = text("Reports")
    return layout.page(request, index.render, title, project=title, items=links)


def show_report(layout: Layout, request: Request) -> Response:
    """Show a report; send it as CSV if .csv follows its name."""
    name, _, suffix = request.params["name"].partition(".")
    actions = layout.declared_reports().get(name)
    if actions is None or suffix not in ("", "csv"):
        raise NotFound(text("nothing is at this address"))
    zone = first(request.query, "zone") or str(user_zone())
    if suffix:
        report = actions.resource.reports[name]
        terms = [*report.group, *report.measures]
        groups = actions.report(name, zone=zone)
        return csv_of(actions, name, terms, groups)
    context = report_content(actions, name, layout.paths(), request.root, zone)
    query = urlencode({"zone": zone})
    context["csv"] = f"{request.root}{REPORTS}/{name}.csv?{query}"
    context["empty"] = text("No matching rows.")
    return layout.page(request, report_page.render, label_of(name), **context)


def report_content(
    actions: AnyActions, name: str, paths: PagePaths, root: str, zone: str
) -> dict[str, Any]:
    """Return the variables of a report's table and chart."""
    report = actions.resource.reports[name]
    keys = _fields(actions, report.group)
    measures = _fields(actions, report.measures)
    groups = actions.report(name, zone=zone)
    rows = _rows(actions, [_shortened(group) for group in groups])
    cells = Cells(actions, rows, keys, paths, root)
    lines = []
    for row, group in zip(rows, groups, strict=True):
        line = Item(value=group[report.measures[0]])
        line.keys = [cells.show(row, field) for field in keys]
        line.values = [cells.show(row, field) for field in measures]
        line.labels = [html.unescape(re.sub("<[^>]*>", "", cell)) for cell in line.keys]
        lines.append(line)
    if keys[0].relation:
        lines.sort(key=lambda line: line.labels[0])
    context = {"keys": keys, "measures": measures, "rows": lines}
    context["chart"] = ""
    context["zone"] = ""
    shapes = chart(report.chart, [(line.labels, line.value) for line in lines])
    if shapes is not None:
        title = label_of(name)
        measure = measures[0].label
        figure = chart_page.render(
            chart=shapes, id=f"chart-{name}", title=title, measure=measure, words=WORDS
        )
        context["chart"] = Raw(figure)
    if any(field.kind == "datetime" and "(" in field.name for field in keys):
        context["zone"] = text("Time zone: {zone}", zone=zone)
    return context


def aggregate_csv(actions: AnyActions, request: Request) -> Response:
    """Handle a request for an aggregate as CSV."""
    actions.allow("read")
    query = actions.aggregate_query(request.query)
    terms = [*query.group, *query.measures]
    return csv_of(actions, "aggregate", terms, actions.aggregate(query))


def csv_of(actions: AnyActions, name: str, terms: Sequence[str], groups: Groups) -> Response:
    """Return groups as CSV. terms: the group keys and the measures."""
    fields = _fields(actions, terms)
    rows = _rows(actions, groups)
    return csv_response(actions, name, fields, iter([rows]))


def _fields(actions: AnyActions, terms: Sequence[str]) -> list[FormField]:
    """Group keys and measures as fields of `_rows`."""
    columns = {field.name: field for field in display_fields(actions.resource)}
    fields = []
    for name in terms:
        function, _, source = name.rstrip(")").rpartition("(")
        field = columns.get(source) or FormField(source, "int")
        label = field.label
        if function:
            label += f" ({text(_FUNCTIONS[function])})"
        column = Column(name, field.kind, label=label)
        fields.append(field._replace(name=name, column=column))
    return fields


def _rows(actions: AnyActions, groups: Groups) -> list[Any]:
    """Groups as rows with different keys, for `Cells`."""
    key = actions.resource.key
    attribute = key.attribute or key.name
    return [Item(**{**group, attribute: number}) for number, group in enumerate(groups)]


def _shortened(group: dict[str, Any]) -> dict[str, Any]:
    """Return a group: its months and years without a day, averages with two decimals."""
    values = group.copy()
    for name, value in group.items():
        width = _WIDTHS.get(name.partition("(")[0])
        if width and value:
            values[name] = str(value)[:width]
        elif isinstance(value, Decimal) and name.startswith("avg("):
            values[name] = value.quantize(Decimal("0.01"), context=EXACT)
    return values


def chart(kind: str, points: Sequence[tuple[Sequence[str], Any]]) -> Item | None:
    """Return the shapes of a chart for report.html, None without a number to draw.

    A first key is one unit wide, and the chart is one unit high: the browser scales it.

    kind: of `schema.report`.
    points: the keys of a group as texts, and its value.
    """
    places: dict[str, int] = {}
    series: dict[str, Item] = {}
    bars = []
    # The ends of bars so far; groups of the same label are on top of each other, too.
    stacks: dict[tuple[str, str, bool], float] = defaultdict(float)
    for keys, value in points:
        label, name = (*keys, "")[:2]
        place = places.setdefault(label, len(places))
        if not isinstance(value, _NUMBERS) or not isfinite(value):
            continue
        if name not in series:
            number = len(series)
            series[name] = Item(name=name, number=number, style=number % COLOURS, points=[])
        stack = (label, name, value < 0)
        if kind == "stacked":
            stack = (label, "", value < 0)
        title = ", ".join(filter(None, (label, name)))
        bar = Item(place=place, series=series[name], title=f"{title}: {value}")
        bar.start = stacks[stack]
        bar.end = bar.start + float(value)
        stacks[stack] = bar.end
        bars.append(bar)
    if not bars:
        return None
    ends = [0.0, *(bar.end for bar in bars)]
    low = min(ends)
    top = max(ends)
    if top == low:
        top = 1.0
    unit = top - low
    width = 0.8
    if kind != "stacked":
        width /= len(series)
    for bar in bars:
        line = bar.series
        bar.style = line.style
        bar.width = width
        bar.x = bar.place + 0.1
        if kind == "bar":
            bar.x += line.number * width
        bar.y = -max(bar.start, bar.end) / unit
        bar.height = abs(bar.end - bar.start) / unit
        line.points.append(f"{bar.place + 0.5} {-bar.end / unit}")
    for line in series.values():
        line.path = "M" + "L".join(line.points)
    step = ceil(len(places) / LABELS)
    drawing = Item(kind=kind, bars=bars, lines=(), across=len(places))
    if kind == "line":
        drawing.bars = ()
        drawing.lines = series.values()
    drawing.box = f"0 {-top / unit} {len(places)} 1"  # browsers limit coordinates
    drawing.ends = (f"{top:.12g}", f"{low:.12g}")
    drawing.labels = [label if n % step == 0 else "" for label, n in places.items()]
    drawing.legend = [line for line in series.values() if line.name]
    return drawing
