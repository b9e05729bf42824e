"""Transitions on pages: the buttons of a row, and the page with the graph of all states."""

from __future__ import annotations

from types import SimpleNamespace as Item
from typing import Any

from ..actions import Resource, Transition
from ..i18n import text
from ..wsgi import Request, Response
from .fields import AnyActions, display_fields, label_of
from .layout import Layout
from .templates import states as states_page

_COLUMN, _BOX, _ROW = 150, 138, 36  # of the graph, in SVG user units


def show_graph(actions: AnyActions, layout: Layout, path: str, request: Request) -> Response:
    """Handle a request for the states of a resource and the transitions between them.

    path: of the list.
    """
    actions.allow("read")
    title = text("States: {what}", what=label_of(actions.resource.event))
    fields, url = state_fields(actions), request.root + path
    return layout.page(request, states_page.render, title, fields=fields, list=url)


def state_fields(actions: AnyActions) -> list[Item]:
    """Return each field with states: its label, and its states and transitions with their places.

    In the graph a state is a column, and a transition is a row with an arrow between two columns.
    """
    resource = actions.resource
    fields = {field.name: field for field in display_fields(resource)}
    items = []
    for name in dict.fromkeys(each.column for each in resource.transitions):
        x = {state: (n + 0.5) * _COLUMN for n, state in enumerate(fields[name].choices)}
        lines = list[Item]()
        for each in resource.transitions:
            for state, following in each.steps.items() if each.column == name else ():
                line = _line(resource, each, state, following)
                line.y, line.x = (len(lines) + 2) * _ROW, (x[state] + x[following]) / 2
                back = -8 if x[following] > x[state] else 8  # from the tip of the arrow
                line.arrow = f"M{x[state]} {line.y}H{x[following]}m{back}-4l{-back} 4 {back} 4"
                lines.append(line)
        states = [Item(name=text(n), x=middle, left=middle - _BOX / 2) for n, middle in x.items()]
        width, height = len(states) * _COLUMN, (len(lines) + 2) * _ROW
        field = Item(label=fields[name].label, width=width, height=height, box=_BOX)
        field.states, field.lines = states, lines
        items.append(field)
    return items


def _line(resource: Resource[Any], transition: Transition, state: str, following: str) -> Item:
    """Return a transition between two states, its roles and its conditions."""
    roles = resource.roles(transition.name)
    notes = [text("a reason is needed")] if transition.needs_reason else []
    if transition.not_by:
        notes.append(text("not by: {field}", field=label_of(transition.not_by)))
    return Item(
        state=text(state),
        name=label_of(transition.name),
        following=text(following),
        who=text("all users") if roles is None else ", ".join(map(label_of, roles)),
        notes="; ".join(notes),
    )
