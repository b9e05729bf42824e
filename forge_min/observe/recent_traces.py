"""The traces that ended last, as trees: for the development console and /debug/traces."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import StatusCode

from ..errors import printable

_KEPT = 50  # traces that have ended
_OPEN = 200  # traces that have not ended
_MOST = 500  # spans of one trace; further spans are counted
_TEXT = 200  # characters of a statement on the console
_BY_START = attrgetter("start_time")
_DETAILS = ("db.query.text", "messaging.message.id", "url.path")


class Branch(NamedTuple):
    """A span in its tree.

    depth: 0 for the root.
    start: seconds since the start of the root.
    seconds: the duration.
    events: one line per recorded exception.
    """

    depth: int
    name: str
    start: float
    seconds: float
    failed: bool
    attributes: Mapping[str, Any]
    events: tuple[str, ...]

    def detail(self) -> str:
        """Return the start of the attribute that the console shows, on one line."""
        for key in _DETAILS:
            if key in self.attributes:
                return " ".join(str(self.attributes[key]).split())[:_TEXT]
        return ""


class Tree(NamedTuple):
    """The spans of one request, job or delivery.

    at: start, as Unix time.
    branches: each span after its parent.
    left_out: number of omitted spans, beyond 500.
    """

    trace_id: str
    at: float
    branches: tuple[Branch, ...]
    left_out: int

    def __str__(self) -> str:
        """Return lines for a terminal.

        Text from clients is escaped: it cannot start a line or move the cursor.
        """
        lines = []
        for branch in self.branches:
            mark = "!" if branch.failed else " "
            name = "  " * branch.depth + branch.name
            text = printable(f"{name:<32} {branch.detail()}".rstrip())
            lines.append(f"  {mark}{branch.seconds * 1e3:8.1f} ms  {text}")
            for event in branch.events:
                lines += [f"    | {printable(line)}" for line in event.splitlines()]
        if self.left_out:
            lines.append(f"   and {self.left_out} more")
        return f"trace {self.trace_id}\n" + "\n".join(lines)


class _OpenTrace:
    """The spans of a trace that has not ended. ended: its ended spans, the root last."""

    __slots__ = ("ended", "left_out", "span_ids")

    def __init__(self, root: int) -> None:
        self.span_ids = [root]
        self.ended: list[Any] = []
        self.left_out = 0


class RecentTraces(SpanProcessor):
    """Keeps the last 50 traces. on_trace: called with the tree of each trace when its root ends."""

    def __init__(self, on_trace: Callable[[Tree], object] | None = None) -> None:
        self._on_trace = on_trace
        self.reset()

    def reset(self) -> None:
        """Forget all spans. For a child after a fork.

        Spans that its parent started end there, and another thread may have held the lock.
        """
        self._roots: dict[int, _OpenTrace] = {}  # by the root's id, the oldest first
        self._by_span: dict[int, _OpenTrace] = {}  # by the id of each span that is not omitted
        self._ended: deque[_OpenTrace] = deque(maxlen=_KEPT)
        # LOCK: guards all of these. SAFETY: reentrant: garbage collection may end a span while the
        # lock is held, and a signal handler may start one.
        self._lock = threading.RLock()

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Assign a span to its tree. Two requests have two trees, even if they share a trace."""
        parent = span.parent
        span_id = span.get_span_context().span_id
        with self._lock:
            if parent is None or parent.is_remote:
                if len(self._roots) >= _OPEN:
                    self._forget(next(iter(self._roots)))
                self._roots[span_id] = self._by_span[span_id] = _OpenTrace(span_id)
                return
            open_trace = self._by_span.get(parent.span_id)
            if open_trace is None:
                return  # the parent was omitted, or its trace has ended
            if len(open_trace.span_ids) < _MOST:
                open_trace.span_ids.append(span_id)
                self._by_span[span_id] = open_trace
            else:
                open_trace.left_out += 1

    def on_end(self, span: Any) -> None:
        """Keep a span. The end of the root completes its trace."""
        span_id = span.get_span_context().span_id
        with self._lock:
            open_trace = self._by_span.get(span_id)
            if open_trace is None:
                return
            open_trace.ended.append(span)
            complete = open_trace.span_ids[0] == span_id
            if complete:
                self._forget(span_id)
                self._ended.append(open_trace)
        if complete and self._on_trace is not None:
            self._on_trace(_tree(open_trace))

    def trees(self) -> list[Tree]:
        """Return the traces that ended last, newest first."""
        with self._lock:
            ended = list(self._ended)
        # PERF: trees are built on request, not for each trace.
        return [_tree(trace) for trace in reversed(ended)]

    def _forget(self, root: int) -> None:
        open_trace = self._roots.pop(root, None)
        if open_trace is not None:
            for span_id in open_trace.span_ids:
                self._by_span.pop(span_id, None)


def _tree(complete: _OpenTrace) -> Tree:
    *spans, root = complete.ended
    children: dict[int, list[Any]] = {}
    for span in sorted(spans, key=_BY_START, reverse=True):
        parent_id = span.parent.span_id if span.parent else 0
        children.setdefault(parent_id, []).append(span)
    start = root.start_time
    branches = []
    stack = [(0, root)]
    while stack:
        depth, span = stack.pop()
        branches.append(_branch(depth, span, start))
        below = children.pop(span.get_span_context().span_id, ())
        stack += [(depth + 1, child) for child in below]
    # Spans without a parent that ended before the root.
    orphans = sorted(chain.from_iterable(children.values()), key=_BY_START)
    branches += [_branch(1, span, start) for span in orphans]
    trace_id = f"{root.get_span_context().trace_id:032x}"
    return Tree(trace_id, start / 1e9, tuple(branches), complete.left_out)


def _branch(depth: int, span: Any, root_start: int) -> Branch:
    events = []
    for event in span.events:
        attributes = event.attributes
        if event.name == "exception" and attributes:
            kind = attributes.get("exception.type", "")
            events.append(f"{kind} {attributes.get('exception.message', '')}")
    return Branch(
        depth,
        str(span.name),
        (span.start_time - root_start) / 1e9,
        (span.end_time - span.start_time) / 1e9,
        span.status.status_code is StatusCode.ERROR,
        dict(span.attributes or {}),
        tuple(events),
    )
