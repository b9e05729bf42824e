"""A span that is recorded: the API's Span, and no more of the SDK than what its processors read.

PERF: the SDK's own takes 30 µs for a request with its nine attributes, each of which it checks,
copies and locks; this one a quarter of that (benchmarks/observe). It belongs to one thread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextvars import Token
from typing import Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from .. import __version__
from .logs import tidied, trace_of
from .logs.tracebacks import name_of, said_by
from .traceparent import SpanContext

_MOST = 128  # attributes, events and links of one span (OpenTelemetry SDK, span limits)
_LONGEST = 2048  # characters of an attribute, and of an exception's message
_TRACE = 16384  # of its stack trace
_READ = 65536  # of what is tidied for that: a message may hold all that a client has sent
_SCOPE = InstrumentationScope("forge_min", __version__)
_UNSET = Status()
_NUMBERS = frozenset((int, bool, float))


class Ended(ReadableSpan):
    """A span that has ended. dropped: attributes, events and links beyond the most."""

    def __init__(self, dropped: tuple[int, int, int], **fields: Any) -> None:
        super().__init__(**fields)
        self._lost = dropped

    @property
    def dropped_attributes(self) -> int:
        """How many were one too many."""
        return self._lost[0]

    @property
    def dropped_events(self) -> int:
        """How many were one too many."""
        return self._lost[1]

    @property
    def dropped_links(self) -> int:
        """How many were one too many."""
        return self._lost[2]


class Recording(trace.Span):
    """One span together with its place in the OpenTelemetry context (see `tracing.Recording`)."""

    def __init__(
        self,
        processor: SpanProcessor,
        resource: Resource,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any] | None,
        ids: trace.SpanContext,
        parent: trace.SpanContext | None,
        links: Sequence[Link],
    ) -> None:
        self._processor, self._resource = processor, resource
        self._name, self._kind = _cut(name), kind
        self._attributes: dict[str, Any] = {}
        self._ids, self._parent, self._links = ids, parent, list(links)
        self._events: list[Event] = []
        self._lost = [0, 0, 0]
        self._status = _UNSET
        self._ended = False
        if attributes:
            # PERF: of a request all are short (benchmarks/observe).
            other = [
                value for value in attributes.values()
                if (len(value) > _LONGEST if type(value) is str else type(value) not in _NUMBERS)
            ]  # fmt: skip
            if other or len(attributes) > _MOST:
                self.set_attributes(attributes)
            else:
                self._attributes.update(attributes)
        self.context = SpanContext(ids.trace_id, ids.span_id, True)
        self._start = time.time_ns()
        self._token: Token[Context] | None = otel.attach(trace.set_span_in_context(self))
        processor.on_start(self, None)  # type: ignore[arg-type]  # it asks the API's span for more

    @property
    def parent(self) -> trace.SpanContext | None:
        """The ids of its parent."""
        return self._parent

    # -- OpenTelemetry's Span ---------------------------------------------------------------------

    def get_span_context(self) -> trace.SpanContext:
        """Its ids."""
        return self._ids

    def is_recording(self) -> bool:
        """Until it has ended."""
        return not self._ended

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute; the 129th is left out and counted."""
        if (
            value is None
            or self._ended
            or (len(self._attributes) >= _MOST and key not in self._attributes)
        ):
            self._lost[0] += value is not None and not self._ended
            return
        self._attributes[key] = _cut(value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        """Add an event; timestamp: ns since 1970, None = now."""
        said = {
            key: _cut(value, _TRACE if key == "exception.stacktrace" else _LONGEST)
            for key, value in (attributes or {}).items()
        }
        self._add(1, self._events, Event(_cut(name), said, timestamp or time.time_ns()))

    def add_link(self, context: trace.SpanContext, attributes: Any = None) -> None:
        """Add a link to another span; to none, nothing, as the SDK does."""
        if context is not None:
            self._add(2, self._links, Link(context, attributes))

    def update_name(self, name: str) -> None:
        """Give it another name."""
        self._name = _cut(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Ok is final; unset is no status to set (OpenTelemetry, Set Status)."""
        new = Status(status, description) if isinstance(status, StatusCode) else status
        if self._status.status_code is not StatusCode.OK and not new.is_unset:
            said = _cut(new.description)
            whole = said is new.description
            self._status = new if whole else Status(new.status_code, said)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Any = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """An event with type, message and traceback: without what a database's error repeats of a
        row, as in the log, or of a statement.
        """
        said = {
            "exception.type": name_of(exception),
            "exception.message": tidied(said_by(exception)[:_READ], exception)[:_LONGEST],
            "exception.stacktrace": trace_of(exception, most=_READ)[:_TRACE],
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", {**said, **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """End it, leave its context, and give it to the processors. Idempotent."""
        if self._ended:
            return
        self._ended = True
        self.leave()
        lost = self._lost[0], self._lost[1], self._lost[2]
        self._processor.on_end(
            Ended(
                lost,
                name=self._name,
                context=self._ids,
                parent=self._parent,
                resource=self._resource,
                attributes=self._attributes,
                events=self._events,
                links=self._links,
                kind=self._kind,
                status=self._status,
                start_time=self._start,
                end_time=end_time or time.time_ns(),
                instrumentation_scope=_SCOPE,
            )
        )

    # -- tracing.Recording ------------------------------------------------------------------------

    record = record_exception

    def leave(self) -> None:
        """Leave its OpenTelemetry context. Idempotent."""
        token, self._token = self._token, None
        if token is None:
            return
        try:
            # not otel.detach(): that logs an error where the body is closed by another thread
            otel._RUNTIME_CONTEXT.detach(token)
        except ValueError:
            pass

    def fail(self, description: str) -> None:
        """Status error."""
        self.set_status(StatusCode.ERROR, description or None)

    def _add(self, which: int, items: list[Any], item: object) -> None:
        if self._ended or len(items) >= _MOST:
            self._lost[which] += not self._ended
        else:
            items.append(item)


def _cut(value: Any, most: int = _LONGEST) -> Any:
    """The beginning of a text, of bytes or of a list, which have room for so many characters and
    128 items.
    SAFETY: thousands of spans wait for a collector that is away.
    """
    if isinstance(value, str | bytes):
        return value if len(value) <= most else value[:most]
    if not isinstance(value, list | tuple):
        return value
    kept: list[Any] = []
    for one in value[:_MOST]:
        kept.append(one[:most] if isinstance(one, str | bytes) else one)
        most -= len(one) if isinstance(one, str | bytes) else 0
        if most <= 0:
            break
    return kept
