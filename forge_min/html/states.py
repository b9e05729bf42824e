"""Transitions on pages: the buttons of a row, and the page with the graph of all states."""

from __future__ import annotations

from types import SimpleNamespace as Item
from typing import Any

from ..actions import Resource, Transition
from ..i18n import text
from ..wsgi import Request, Response
from .fields import AnyActions, FormField, display_fields, label_of
from .layout import Layout
from .templates import states as states_page

# Sizes in the graph, in SVG user units.
_COLUMN = 150
_BOX = 138
_ROW = 36


def show_graph(actions: AnyActions, layout: Layout, path: str, request: Request) -> Response:
    """Handle a request for the states of a resource and the transitions between them.

    path: of the list.
    """
    actions.allow("read")
    title = text("States: {what}", what=label_of(actions.resource.event))
    fields = state_fields(actions)
    url = request.root + path
    return layout.page(request, states_page.render, title, fields=fields, list=url)


def state_fields(actions: AnyActions) -> list[Item]:
    """Return each field with states: its label, and its states and transitions with their places.

    In the graph a state is a column, and a transition is a row with an arrow between two columns.
    """
    resource = actions.resource
    fields = {field.name: field for field in display_fields(resource)}
    items = {}
    for transition in resource.transitions:
        name = transition.column
        if name not in items:
            items[name] = _graph(fields[name])
        graph = items[name]
        for state, following in transition.steps.items():
            start = graph.middles[state]
            end = graph.middles[following]
            line = _line(resource, transition, state, following)
            line.x = (start + end) / 2
            line.y = graph.height
            back = 8  # from the tip of the arrow
            if end > start:
                back = -8
            line.arrow = f"M{start} {line.y}H{end}m{back}-4l{-back} 4 {back} 4"
            graph.lines.append(line)
            graph.height += _ROW
    return [*items.values()]


def _graph(field: FormField) -> Item:
    """Return the graph of a field, with its states and without transitions."""
    graph = Item(label=field.label, box=_BOX, height=2 * _ROW, states=[], lines=[], middles={})
    for number, state in enumerate(field.choices):
        middle = (number + 0.5) * _COLUMN
        graph.middles[state] = middle
        graph.states.append(Item(name=text(state), x=middle, left=middle - _BOX / 2))
    graph.width = len(graph.states) * _COLUMN
    return graph


def _line(resource: Resource[Any], transition: Transition, state: str, following: str) -> Item:
    """Return a transition between two states, its roles and its conditions."""
    roles = resource.roles(transition.name)
    who = text("all users")
    if roles is not None:
        who = ", ".join(map(label_of, roles))
    notes = []
    if transition.needs_reason:
        notes.append(text("a reason is needed"))
    if transition.not_by:
        notes.append(text("not by: {field}", field=label_of(transition.not_by)))
    line = Item(name=label_of(transition.name), who=who, notes="; ".join(notes))
    line.state = text(state)
    line.following = text(following)
    return line
