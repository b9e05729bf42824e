"""Encodes events as frames: JSON for programs, patches of elements for pages.

Runs on the threads of the hub, as the user "hub" without roles, in the event's tenant: a patch
contains only the fields that every reader of the row may see.
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
    """Provides `begin` for the hub.

    fragments: topic → the user's function that renders one row.
    """

    def __init__(self, registry: Registry, fragments: Mapping[str, Callable[..., str]]) -> None:
        self._registry = registry
        self._fragments = {topic: registry.fill(f, 1) for topic, f in fragments.items()}

    def begin(self, events: Sequence[Event]) -> Encode:
        """Return the encoder of a batch; rows are read once per topic and tenant.

        The encoder returns one whole frame for each event. Formats: "json", and "html" if the topic
        has a fragment.
        """
        read: _Rows = {}  # SAFETY: of this batch only; another thread may encode another batch

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
        key = event.topic, event.tenant_id
        # The permission to read was checked when the stream was opened.
        with as_identity(Identity(user="hub", tenant=event.tenant_id)):
            if key not in read:
                same = [other for other in batch if (other.topic, other.tenant_id) == key]
                read[key] = _read(actions, same)
            row = read[key].get(actions.read_key(id))
            if row is None:  # deleted since: its own event follows and removes it again
                return _frame(event, f"mode remove\nselector {selector}")
            html = self._fragments[event.topic](row).strip()
        lines = "\n".join(f"elements {line}" for line in html.splitlines())
        if event.kind.endswith((".created", ".restored")):
            lines = f"mode append\nselector #{event.topic}\n{lines}"
        return _frame(event, lines)


def _read(actions: Any, events: Sequence[Event]) -> Mapping[Any, Any]:
    keys = set()
    for event in events:
        with suppress(NotFound):  # the id of a user's own event need not be a key
            keys.add(actions.read_key(event.resource_id or ""))
    return dict(actions.public_many(keys))


def _selector(element: str) -> str:
    """Return the CSS selector of an element's id, which may hold any text (CSS Syntax, 4.3.7)."""
    if PLAIN.fullmatch(element):
        return "#" + element
    text = "".join(c if c.isalnum() else f"\\{ord(c):x} " for c in element)
    return f'[id="{text}"]'


def _frame(event: Event, lines: str) -> bytes:
    """Format a frame of Datastar 1: an event, each data line of which starts with a word."""
    data = "".join(f"data: {line}\n" for line in lines.split("\n"))
    return f"event: datastar-patch-elements\nid: {event.sse_id}\n{data}\n".encode()
