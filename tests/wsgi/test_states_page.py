"""The page of states: its drawing and its table have every state and every transition."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

from forge_min.actions import Column, Transition
from forge_min.html.states import state_fields
from forge_min.html.templates import WORDS
from forge_min.html.templates import states as states_page

STATES = ("draft", "sent", "paid", "void")
TRANSITIONS = (
    Transition("send", "status", {"draft": "sent"}),
    Transition("pay", "status", {"sent": "paid"}),
    Transition("cancel", "status", {"draft": "void", "sent": "void"}, needs_reason=True),
    Transition("reopen", "status", {"void": "draft"}),
)


def test_the_drawing_has_every_state_and_an_arrow_for_every_step() -> None:
    resource = SimpleNamespace(
        columns=(Column("status", "enum", choices=STATES),),
        relations=(),
        transitions=TRANSITIONS,
        roles=lambda name: None,
    )
    fields = state_fields(cast(Any, SimpleNamespace(resource=resource)))
    page = states_page.render(title="States", words=WORDS, fields=fields, list="/bills")
    drawing, table = page.split("</svg>")
    texts = re.findall(r"<text [^>]*>([^<]*)</text>", drawing)
    assert texts == [*STATES, "Send", "Pay", "Cancel", "Cancel", "Reopen"]
    middles = dict(zip(STATES, re.findall(r'class="column" d="M([\d.]+) ', drawing), strict=True))
    steps = [step for each in TRANSITIONS for step in each.steps.items()]
    arrows = re.findall(r'<path d="M([\d.]+) \d+H([\d.]+)m', drawing)
    assert arrows == [(middles[state], middles[following]) for state, following in steps]
    assert len(re.findall("<tr><th", table)) == len(steps) + 1, "a heading and a row for each"
