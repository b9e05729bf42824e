"""Transitions on pages: the buttons of a row, and the page with the graph of all states."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import SimpleNamespace as Item
from typing import Any

from ..actions import Resource, Transition
from ..i18n import text
from ..wsgi import Raw, Request, Response, join, tag
from .fields import AnyActions, display_fields, label_of
from .layout import Layout
from .templates import states as states_page

# In SVG user units.
_BOX, _HEIGHT, _STEP, _BEND, _LETTER = 170, 36, 92, 44, 8
_ARROW = Raw(
    '<marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"'
    ' orient="auto"><path d="M0 0 8 4 0 8z"></path></marker>'
)


def buttons(actions: AnyActions, row: Any, url: str) -> list[Item]:
    """Return the transitions that lead from the state of a row and that the user may perform.

    url: of the row.
    """
    return [
        Item(
            label=label_of(each.name),
            action=f"{url}/transitions/{each.name}",
            reason=each.needs_reason,
        )
        for each in actions.possible_transitions(row)
    ]


def show_graph(actions: AnyActions, layout: Layout, path: str, request: Request) -> Response:
    """Handle a request for the states of a resource and the transitions between them.

    path: of the list.
    """
    actions.allow("read")
    title = text("States: {what}", what=label_of(actions.resource.event))
    fields, url = state_fields(actions), request.root + path
    return layout.page(request, states_page.render, title, fields=fields, list=url)


def state_fields(actions: AnyActions) -> list[Item]:
    """Return each field with states: its label, its graph, and its transitions as lines."""
    resource = actions.resource
    fields = {field.name: field for field in display_fields(resource)}
    items = []
    for name in dict.fromkeys(each.column for each in resource.transitions):
        edges: dict[tuple[int, int], list[str]] = defaultdict(list)
        lines, states = [], fields[name].choices
        for each in resource.transitions:
            for state, following in each.steps.items() if each.column == name else ():
                edges[states.index(state), states.index(following)].append(label_of(each.name))
                lines.append(_line(resource, each, state, following))
        graph = state_graph([*map(text, states)], edges)
        items.append(Item(label=fields[name].label, graph=graph, lines=lines))
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


def state_graph(states: Sequence[str], edges: Mapping[tuple[int, int], Sequence[str]]) -> Raw:
    """Return states and transitions as SVG: the states below each other, in order.

    edges: (index of a state, index of the next state) → names of transitions.
    """
    right = max([_bend(*edge, names) for edge, names in edges.items() if edge[1] > edge[0]] or [0])
    left = max([_bend(*edge, names) for edge, names in edges.items() if edge[1] < edge[0]] or [0])
    arrows = [_edge(*edge, ", ".join(names), left) for edge, names in edges.items()]
    boxes = []
    for n, state in enumerate(states):
        y = n * _STEP + 1
        box = tag("rect", "", x=left, y=y, width=_BOX, height=_HEIGHT, rx=6)
        name = tag("text", state, x=left + _BOX / 2, y=y + 23, text_anchor="middle")
        boxes += [box, name]
    width = left + _BOX + right
    size = f"0 0 {width} {(len(states) - 1) * _STEP + _HEIGHT + 2}"
    label = text("The states and transitions, which the table below lists")
    drawing = join([_ARROW, *arrows, *boxes])
    return tag("svg", drawing, viewBox=size, width=width, role="img", aria_label=label)


def _bend(start: int, end: int, names: Sequence[str]) -> int:
    """The width beside the boxes that an edge and its label need."""
    return _BEND * (abs(end - start) - 1) + _LETTER * len(", ".join(names)) + 30


def _edge(start: int, end: int, label: str, left: int) -> Raw:
    """One arrow: straight to the next state, else a curve beside the states."""
    middle = left + _BOX / 2
    if end == start + 1:
        y = start * _STEP + _HEIGHT + 1
        line, x, anchor = f"M{middle} {y}V{end * _STEP}", middle + 8, "start"
    else:
        side = 1 if end > start else -1
        edge, bend = middle + side * _BOX / 2, _BEND * (abs(end - start) - 1) + 24
        above, below = start * _STEP + _HEIGHT / 2, end * _STEP + _HEIGHT / 2
        x = edge + side * (bend * 0.75 + 6)
        turn = edge + side * bend
        line = f"M{edge} {above}C{turn} {above} {turn} {below} {edge} {below}"
        anchor = "start" if end > start else "end"
    name = tag(
        "text", label, x=x, y=(start + end) * _STEP / 2 + _HEIGHT / 2 + 5, text_anchor=anchor
    )
    return join([tag("path", "", d=line, marker_end="url(#arrow)"), name])
