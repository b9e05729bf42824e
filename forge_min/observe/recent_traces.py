"""The traces that ended last, as trees: for a person who develops, and for /debug/traces."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from weakref import WeakSet

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import StatusCode

from ..errors import printable

_KEPT = 50  # trees
_OPEN = 200  # traces that have not ended here
_MOST = 500  # spans of one tree; the others are counted
_TEXT = 200  # characters of a statement on the console
_OF_AN_ERROR = ("exception.type", "exception.message")
_SHOWN = ("db.query.text", "messaging.message.id", "url.path")


class Branch(NamedTuple):
    """A span in its tree. depth: 0 is the root. start, seconds: from the root's start on."""

    depth: int
    name: str
    start: float
    seconds: float
    failed: bool
    attributes: Mapping[str, Any]
    events: tuple[str, ...]


class Tree(NamedTuple):
    """What one request, job or delivery did. at: Unix time. left_out: spans beyond the most."""

    trace_id: str
    at: float
    branches: tuple[Branch, ...]
    left_out: int

    def __str__(self) -> str:
        """As lines for a terminal. What clients have sent begins none, and moves no cursor."""
        lines = []
        for branch in self.branches:
            mark = "!" if branch.failed else " "
            shown = next((str(branch.attributes[k]) for k in _SHOWN if k in branch.attributes), "")
            shown = " ".join(shown.split())[:_TEXT]
            name = "  " * branch.depth + branch.name
            told = printable(f"{name:<32} {shown}".rstrip())
            lines.append(f"  {mark}{branch.seconds * 1e3:8.1f} ms  {told}")
            lines += [f"    | {printable(row)}" for e in branch.events for row in e.splitlines()]
        if self.left_out:
            lines.append(f"   and {self.left_out} more")
        return f"trace {self.trace_id}\n" + "\n".join(lines)


class _OpenTrace:
    """What began here, by the span that began it. ended: its spans; the root is the last."""

    __slots__ = ("ended", "known", "left_out")

    def __init__(self, root: int) -> None:
        self.known = [root]
        self.ended: list[ReadableSpan] = []
        self.left_out = 0


class RecentTraces(SpanProcessor):
    """Keeps the last 50 trees. told: called with each one when its root has ended."""

    def __init__(self, told: Callable[[Tree], object] | None = None) -> None:
        self._told = told
        self.reset()
        _living.add(self)

    def reset(self) -> None:
        """Know no span. For a child after a fork: spans that its parent began end there too, and
        another thread may have held the lock.
        """
        self._roots: OrderedDict[int, _OpenTrace] = OrderedDict()  # by the id of the root
        self._of: dict[int, _OpenTrace] = {}  # by the id of each span that has not been left out
        self._ended: deque[_OpenTrace] = deque(maxlen=_KEPT)
        # LOCK: guards all of these. SAFETY: reentrant: a collection of garbage may end a span in
        # the middle of this, and a signal's handler may begin one.
        self._lock = threading.RLock()

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Note where it belongs: a trace that two requests share is two trees here."""
        parent, me = span.parent, span.get_span_context().span_id
        with self._lock:
            if parent is None or parent.is_remote:
                if len(self._roots) >= _OPEN:
                    self._forget(next(iter(self._roots)))
                self._roots[me] = self._of[me] = _OpenTrace(me)
                return
            growing = self._of.get(parent.span_id)
            if growing is None:
                return  # of one that was left out or has ended
            if len(growing.known) < _MOST:
                growing.known.append(me)
                self._of[me] = growing
            else:
                growing.left_out += 1

    def on_end(self, span: ReadableSpan) -> None:
        """Keep a span; with the one that began here the tree is whole."""
        context = span.get_span_context()
        me = context.span_id if context else 0
        with self._lock:
            growing = self._of.get(me)
            if growing is None:
                return
            growing.ended.append(span)
            whole = growing.known[0] == me
            if whole:
                self._forget(me)
                self._ended.append(growing)
        if whole and self._told is not None:
            self._told(_tree(growing))

    def trees(self) -> list[Tree]:
        """The newest first."""
        with self._lock:
            ended = list(self._ended)
        return [_tree(growing) for growing in reversed(ended)]  # PERF: not before somebody looks

    def _forget(self, root: int) -> None:
        growing = self._roots.pop(root, None)
        for span in growing.known if growing else ():
            self._of.pop(span, None)


_living: WeakSet[RecentTraces] = WeakSet()


def _after_fork() -> None:
    for recent in list(_living):
        recent.reset()


os.register_at_fork(after_in_child=_after_fork)


def _tree(growing: _OpenTrace) -> Tree:
    *spans, root = growing.ended
    children: dict[int, list[ReadableSpan]] = {}
    for span in spans:
        children.setdefault(span.parent.span_id if span.parent else 0, []).append(span)
    began = root.start_time or 0
    branches: list[Branch] = []
    waiting = [(0, root)]
    while waiting:
        depth, span = waiting.pop()
        branches.append(_branch(depth, span, began))
        ids = span.get_span_context()
        below = sorted(children.pop(ids.span_id if ids else -1, ()), key=_start, reverse=True)
        waiting += [(depth + 1, child) for child in below]
    # Those whose parent has not ended before the root.
    lost = sorted((span for rows in children.values() for span in rows), key=_start)
    branches += [_branch(1, span, began) for span in lost]
    context = root.get_span_context()
    trace = f"{context.trace_id:032x}" if context else ""
    return Tree(trace, began / 1e9, tuple(branches), growing.left_out)


def _start(span: ReadableSpan) -> int:
    return span.start_time or 0


def _branch(depth: int, span: ReadableSpan, began: int) -> Branch:
    start, end = span.start_time or began, span.end_time or began
    events = tuple(
        " ".join(
            str(event.attributes.get(key, "")) for key in ("exception.type", "exception.message")
        )
        for event in span.events
        if event.name == "exception" and event.attributes is not None
    )
    return Branch(
        depth,
        str(span.name),
        (start - began) / 1e9,
        (end - start) / 1e9,
        span.status.status_code is StatusCode.ERROR,
        dict(span.attributes or {}),
        events,
    )
