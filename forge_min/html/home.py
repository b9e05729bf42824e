"""The start page: what waits for the user, how many rows there are, reports and recent changes."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace as Item
from urllib.parse import urlencode

from ..actions import Filter, ListQuery, quote
from ..auth import ANONYMOUS, current_identity
from ..errors import Unauthenticated
from ..i18n import format_number, gettext_noop, text
from ..wsgi import Raw, Request, Response, tag, user_zone
from .cells import row_url
from .fields import AnyActions, label_of
from .history import sentence
from .inputs import choices_of_keys
from .layout import REPORTS, Home, Layout
from .report import report_content
from .templates import home
from .titles import titles

MAX_WAITING = 5  # rows of one resource that wait for the user
MAX_CHARTS = 4
MAX_CHANGES = 10
_CHANGES = {
    "create": gettext_noop("{user} created {row}, {when}"),
    "update": gettext_noop("{user} changed {row}, {when}"),
    "delete": gettext_noop("{user} deleted {row}, {when}"),
    "restore": gettext_noop("{user} restored {row}, {when}"),
}


def show_home(layout: Layout, arrangement: Home, request: Request) -> Response:
    """Show the start page, made from the schemas of the resources that the user may read.

    arrangement: that of the project.
    """
    root = request.root
    resources = {path: actions for path, actions in layout.resources.items() if actions.may("read")}
    if not resources and current_identity() == ANONYMOUS:
        raise Unauthenticated(text("sign in first"))
    waiting = [_waiting(actions, root + path) for path, actions in resources.items()]
    paths = layout.paths()
    counts = []
    for topic in arrangement.resources or paths:
        path = paths[topic]
        if path in resources:
            counts.append(_count(resources[path], root + path))
    charts = _charts(layout, arrangement, request)
    changes = []
    if arrangement.changes:
        changes = _changes(resources, root)
    return layout.page(
        request,
        home.render,
        text("Start"),
        waiting=[item for item in waiting if item],
        counts=counts,
        charts=charts,
        changes=changes,
        project=layout.project,
        readable=bool(resources),
    )


def _charts(layout: Layout, arrangement: Home, request: Request) -> list[Item]:
    """Return the first reports of the user that have a chart."""
    charts = []
    reports = layout.reports()
    paths = layout.paths()
    zone = str(user_zone())
    for name in arrangement.reports or [*reports][:MAX_CHARTS]:
        if name not in reports:
            continue
        content = report_content(reports[name], name, paths, request.root, zone)
        if content["chart"]:
            url = f"{request.root}{REPORTS}/{name}"
            charts.append(Item(title=label_of(name), url=url, name=name, **content))
    return charts


def _count(actions: AnyActions, url: str) -> Item:
    page = actions.list(ListQuery(limit=1, counted=True))
    count = Item(label=label_of(actions.resource.topic), url=url, new="")
    count.total = format_number(page.total or 0)
    if page.is_estimate:
        count.total = text("about {n}", n=count.total)
    if actions.may("create"):
        count.new = f"{url}/new"
    count.add = text("New: {what}", what=label_of(actions.resource.event))
    return count


def _waiting(actions: AnyActions, url: str) -> Item | None:
    """Return the rows that wait for the user, or None.

    They are in a state from which the user may perform a transition forward, in the order of the
    states, that has roles of its own.

    url: of the list.
    """
    resource = actions.resource
    columns = resource.by_name
    transitions = []
    waiting = set()
    for transition in resource.transitions:
        if resource.roles(transition.name) == resource.roles("update"):
            continue
        order = columns[transition.column].choices.index
        for state, following in transition.steps.items():
            if order(following) > order(state) and actions.may(transition.name):
                transitions.append(transition)
                waiting.add(state)
    if not transitions:
        return None
    column = columns[transitions[0].column]
    states = sorted(waiting)
    conditions = [Filter(column, "in", states)]
    authors = {transition.not_by for transition in transitions}
    author = authors.pop()
    if author in columns and not authors:
        condition = f"({{}} or {quote(author)} is null)"
        conditions.append(Filter(columns[author], "ne", current_identity().user, condition))
    page = actions.list(ListQuery(tuple(conditions), limit=MAX_WAITING, counted=True))
    if not page.rows:
        return None
    item = Item(label=text("Waiting for you: {what}", what=label_of(resource.topic)), rows=[])
    item.total = format_number(page.total or 0)
    query = urlencode({f"{column.name}[in]": ",".join(states)})
    item.all = f"{url}?{query}"
    for row, title in zip(page.rows, titles(actions, page.rows), strict=True):
        state = text(column.value_of(row))
        item.rows.append(Item(title=title, url=row_url(url, actions.key_of(row)), state=state))
    return item


def _changes(resources: Mapping[str, AnyActions], root: str) -> list[Raw]:
    """Return the newest changes that the user may read, as sentences."""
    entries = []
    for path, actions in resources.items():
        if actions.resource.auditable and actions.may("audit"):
            for entry in actions.recent_changes(MAX_CHANGES):
                entries.append((entry, path))
    entries.sort(key=lambda pair: pair[0].id, reverse=True)
    newest = entries[:MAX_CHANGES]
    keys: dict[str, set[str]] = {}
    for entry, path in newest:
        keys.setdefault(path, set()).add(entry.key)
    links: dict[tuple[str, str], Raw] = {}
    for path in keys:
        for key, title in choices_of_keys(resources[path], keys[path]):
            links[path, key] = tag("a", title, href=row_url(root + path, key))
    sentences = []
    for entry, path in newest:
        kind = label_of(resources[path].resource.event)
        row = links.get((path, entry.key)) or tag("span", kind)
        sentences.append(sentence(_CHANGES[entry.operation], entry, {"row": row}))
    return sentences
