"""Events become frames here: JSON for programs, patches of elements for pages. Runs on the threads
of the hub, as "hub" without a role, in the event's tenant: a patch shows what everybody may see who
may read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from .. import sse
from ..actions import Registry
from ..auth import Identity, as_identity
from ..errors import NotFound
from ..lazy import lazy_pattern
from ..notify import Encode, Event

PLAIN = lazy_pattern(r"[A-Za-z0-9_-]+")
_Rows = dict[tuple[str, UUID | None], Mapping[Any, Any]]


class Encoder:
    """Gives the hub its `begin`. fragments: topic → the user's function that renders one row."""

    def __init__(self, registry: Registry, fragments: Mapping[str, Callable[..., str]]) -> None:
        self._registry = registry
        self._fragments = {topic: registry.fill(made, 1) for topic, made in fragments.items()}

    def begin(self, events: Sequence[Event]) -> Encode:
        """What encodes each of these: one whole frame. Rows are read once per topic and tenant.

        Formats: "json", and "html" where the topic has a fragment.
        """
        read: _Rows = {}  # SAFETY: of this batch, whatever thread goes on with another one

        def encode(event: Event, format: str) -> bytes:
            if format == "html" and event.topic in self._fragments and event.resource_id:
                return self._patch(events, read, event, event.resource_id)
            return sse.encode_json(event)

        return encode

    def _patch(self, batch: Sequence[Event], read: _Rows, event: Event, id: str) -> bytes:
        selector = _selector(f"{event.topic}-{id}")
        if event.kind.endswith(".deleted"):
            return _frame(event, f"mode remove\nselector {selector}")
        actions = self._registry.actions[event.topic]
        place = event.topic, event.tenant_id
        # Who listens was asked for the permission to read when the stream was opened.
        with as_identity(Identity(user="hub", tenant=event.tenant_id)):
            if place not in read:
                same = [one for one in batch if (one.topic, one.tenant_id) == place]
                read[place] = _read(actions, same)
            row = read[place].get(actions.read_key(id))
            if row is None:  # deleted meanwhile: its own event follows, this one says the same
                return _frame(event, f"mode remove\nselector {selector}")
            html = self._fragments[event.topic](row).strip()
        lines = "\n".join(f"elements {line}" for line in html.splitlines())
        if event.kind.endswith((".created", ".restored")):
            lines = f"mode append\nselector #{event.topic}\n{lines}"
        return _frame(event, lines)


def _read(actions: Any, events: Sequence[Event]) -> Mapping[Any, Any]:
    keys = set()
    for event in events:
        with suppress(NotFound):  # an id that is no key: of an event of the user's own
            keys.add(actions.read_key(event.resource_id or ""))
    return dict(actions.public_many(keys))


def _selector(element: str) -> str:
    """The CSS selector of an element's id, whatever a key of text holds (CSS Syntax, 4.3.7)."""
    if PLAIN.fullmatch(element):
        return "#" + element
    text = "".join(c if c.isalnum() else f"\\{ord(c):x} " for c in element)
    return f'[id="{text}"]'


def _frame(event: Event, lines: str) -> bytes:
    """The wire format of Datastar 1: an event whose data lines start with a word."""
    data = "".join(f"data: {line}\n" for line in lines.split("\n"))
    return f"event: datastar-patch-elements\nid: {event.sse_id}\n{data}\n".encode()
