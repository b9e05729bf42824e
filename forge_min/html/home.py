"""The start page: what waits for the user, how many rows there are, reports and recent changes."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace as Item
from typing import Any
from urllib.parse import urlencode

from ..actions import Filter, ListQuery, Transition, quote
from ..auth import ANONYMOUS, current_identity
from ..errors import Unauthenticated
from ..i18n import format_number, gettext_noop, text
from ..wsgi import Raw, Request, Response, tag, user_zone
from .cells import row_url
from .fields import AnyActions, label_of
from .history import actor_of, ago, sentence
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
    resources = {path: a for path, a in layout.resources.items() if a.may("read")}
    if not resources and current_identity() == ANONYMOUS:
        raise Unauthenticated(text("sign in first"))
    waiting = [_waiting(a, request.root + path) for path, a in resources.items()]
    paths = layout.paths()
    wanted = [paths[topic] for topic in arrangement.resources or paths]
    counted = [path for path in wanted if path in resources]
    context: dict[str, Any] = {
        "waiting": [item for item in waiting if item],
        "counts": [_count(resources[path], request.root + path) for path in counted],
        "charts": _charts(layout, arrangement, request),
        "changes": _changes(resources, request.root) if arrangement.changes else (),
        "project": layout.project,
        "readable": bool(resources),
    }
    return layout.page(request, home.render, text("Start"), **context)


def _charts(layout: Layout, arrangement: Home, request: Request) -> list[Item]:
    """Return the first reports of the user that have a chart."""
    charts, reports = [], layout.reports()
    wanted = arrangement.reports or [*reports][:MAX_CHARTS]
    for name in [name for name in wanted if name in reports]:
        paths, zone = layout.paths(), str(user_zone())
        content = report_content(reports[name], name, paths, request.root, zone)
        if content["chart"]:
            url = f"{request.root}{REPORTS}/{name}"
            charts.append(Item(title=label_of(name), url=url, name=name, **content))
    return charts


def _count(actions: AnyActions, url: str) -> Item:
    page = actions.list(ListQuery(limit=1, counted=True))
    total = format_number(page.total or 0)
    return Item(
        label=label_of(actions.resource.topic),
        url=url,
        total=text("about {n}", n=total) if page.is_estimate else total,
        new=f"{url}/new" if actions.may("create") else "",
        add=text("New: {what}", what=label_of(actions.resource.event)),
    )


def _waiting(actions: AnyActions, url: str) -> Item | None:
    """Return the rows that wait for the user, or None.

    They are in a state from which the user may perform a transition forward, in the order of the
    states, that has roles of its own.

    url: of the list.
    """
    resource, user = actions.resource, current_identity().user
    columns = resource.by_name
    own: list[Transition] = []
    waiting: set[str] = set()
    for each in resource.transitions:
        order = columns[each.column].choices.index
        special = resource.roles(each.name) != resource.roles("update")
        for state, following in each.steps.items() if special else ():
            if order(following) > order(state) and actions.may(each.name):
                own.append(each)
                waiting.add(state)
    if not own:
        return None
    column, states = columns[own[0].column], sorted(waiting)
    conditions = [Filter(column, "in", states)]
    author, *more = {each.not_by for each in own}
    if author in columns and not more:
        other = f"({{}} or {quote(author)} is null)"
        conditions.append(Filter(columns[author], "ne", user, other))
    page = actions.list(ListQuery(tuple(conditions), limit=MAX_WAITING, counted=True))
    if not page.rows:
        return None
    return Item(
        label=text("Waiting for you: {what}", what=label_of(resource.topic)),
        total=format_number(page.total or 0),
        all=f"{url}?{urlencode({f'{column.name}[in]': ','.join(states)})}",
        rows=[
            Item(
                title=name, url=row_url(url, actions.key_of(row)), state=text(column.value_of(row))
            )
            for row, name in zip(page.rows, titles(actions, page.rows), strict=True)
        ],
    )


def _changes(resources: Mapping[str, AnyActions], root: str) -> list[Raw]:
    """Return the newest changes that the user may read, as sentences."""
    entries = [
        (entry, path, actions)
        for path, actions in resources.items()
        if actions.resource.auditable and actions.may("audit")
        for entry in actions.recent_changes(MAX_CHANGES)
    ]
    newest = sorted(entries, key=lambda each: each[0].id, reverse=True)[:MAX_CHANGES]
    links: dict[tuple[str, str], Raw] = {}
    for path in {path for _, path, _ in newest}:
        keys = {entry.key for entry, at, _ in newest if at == path}
        for key, name in choices_of_keys(resources[path], keys):
            links[path, key] = tag("a", name, href=row_url(root + path, key))
    sentences = []
    for entry, path, actions in newest:
        parts = {"user": tag("b", actor_of(entry)), "when": ago(entry.at)}
        kind = label_of(actions.resource.event)
        parts["row"] = links.get((path, entry.key)) or tag("span", kind)
        sentences.append(sentence(_CHANGES[entry.operation], parts))
    return sentences
