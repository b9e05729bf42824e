"""Ended spans as the JSON of OTLP.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding . Ids are hex, 64-bit
integers are strings, bytes are base64, span kinds are the API's plus one, and numbers that JSON has
no word for are strings.

PERF: texts are put together by hand; `json.dumps` of the nested rows took twice as long
(benchmarks/observe).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii as _text
from math import isfinite
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link

from ...expression import expression

_REMOTE, _LOCAL = 0x300, 0x100  # flags: whether the parent is known to be remote, and is
_NAMES: dict[str, str] = {}
_MOST_NAMES = 1000
_LEAST_INT, _MOST_INT, _MOST_TIME = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1  # int64, fixed64
_DEEPEST = 4  # lists inside of each other: one may hold itself
# An escaped backslash, a pair of surrogates; else half of one, for which a collector's JSON has no
# word: it refuses the batch.
_HALVES = expression(r"(\\\\|\\ud[89ab]..\\ud[c-f]..)|\\ud[89a-f]..")


def encode_spans(spans: Sequence[ReadableSpan]) -> tuple[bytes, list[Exception]]:
    """One ExportTraceServiceRequest, and an error for each span that is left out because something
    that it was given cannot be written. All spans come from one resource, that of our provider.
    """
    scopes: dict[tuple[str, str], list[str]] = {}
    errors: list[Exception] = []
    for span in spans:
        try:
            scope = span.instrumentation_scope
            place = (scope.name, scope.version or "") if scope else ("", "")
            scopes.setdefault(place, []).append(_span(span))
        except Exception as err:  # of a value's own
            errors.append(err)
    resource = _attributes(spans[0].resource.attributes) if spans else "[]"
    groups = ",".join(
        f'{{"scope":{{"name":{_text(str(name))},"version":{_text(str(version))}}},'
        f'"spans":[{",".join(rows)}]}}'
        for (name, version), rows in scopes.items()
    )
    whole = (
        f'{{"resourceSpans":[{{"resource":{{"attributes":{resource}}},"scopeSpans":[{groups}]}}]}}'
    )
    if "\\ud" in whole:  # PERF: one look at all, not one at each text (benchmarks/observe)
        whole = _HALVES.sub(lambda found: found[1] or r"\ufffd", whole)
    return whole.encode("ascii"), errors


def _span(span: ReadableSpan) -> str:
    ids = span.get_span_context()
    assert ids is not None  # of one that has ended
    parent, more = span.parent, ""
    if parent is not None:
        flags = _REMOTE if parent.is_remote else _LOCAL
        more = f'"parentSpanId":"{parent.span_id:016x}",'
    else:
        flags = 0
    if ids.trace_state:
        more += f'"traceState":{_text(ids.trace_state.to_header())},'
    if span.events:
        more += f'"events":[{",".join(map(_event, span.events))}],'
    if span.links:
        more += f'"links":[{",".join(map(_link, span.links))}],'
    lost = span.dropped_attributes, span.dropped_events, span.dropped_links
    if any(lost):
        more += (
            f'"droppedAttributesCount":{lost[0]},"droppedEventsCount":{lost[1]},'
            f'"droppedLinksCount":{lost[2]},'
        )
    status = f'{{"code":{span.status.status_code.value}'
    if span.status.description:
        status += f',"message":{_text(str(span.status.description))}'
    return (
        f'{{"traceId":"{ids.trace_id:032x}","spanId":"{ids.span_id:016x}",{more}'
        f'"flags":{flags | ids.trace_flags},'
        f'"name":{_text(str(span.name))},"kind":{span.kind.value + 1},'
        f'"startTimeUnixNano":"{_time(span.start_time)}","endTimeUnixNano":"{_time(span.end_time)}",'
        f'"attributes":{_attributes(span.attributes or {})},"status":{status}}}}}'
    )


def _event(event: Event) -> str:
    return (
        f'{{"timeUnixNano":"{_time(event.timestamp)}","name":{_text(str(event.name))},'
        f'"attributes":{_attributes(event.attributes or {})}}}'
    )


def _link(link: Link) -> str:
    to, state = link.context, ""
    if to.trace_state:
        state = f'"traceState":{_text(to.trace_state.to_header())},'
    flags = (_REMOTE if to.is_remote else _LOCAL) | to.trace_flags
    return (
        f'{{"traceId":"{to.trace_id:032x}","spanId":"{to.span_id:016x}",{state}"flags":{flags},'
        f'"attributes":{_attributes(link.attributes or {})}}}'
    )


def _attributes(attributes: Mapping[str, Any]) -> str:
    written = []
    for key, value in attributes.items():
        name = _NAMES.get(key) or _name(key)
        if type(value) is str:  # PERF: most are
            written.append(f'{name}{{"stringValue":{_text(value)}}}}}')
        else:
            written.append(f"{name}{_value(value)}}}")
    return f"[{','.join(written)}]"


def _name(key: str) -> str:
    """What stands before the value; kept, as there are few names."""
    found = _NAMES.get(key)
    if found is None:
        found = f'{{"key":{_text(str(key))},"value":'
        if len(_NAMES) < _MOST_NAMES:
            _NAMES[key] = found
    return found


def _value(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return f'{{"stringValue":{_text(value)}}}'
    if isinstance(value, bool):
        return '{"boolValue":true}' if value else '{"boolValue":false}'
    # SAFETY: by the number's own class; a subclass may write itself in another way, as Enum does.
    if isinstance(value, int) and _LEAST_INT <= value <= _MOST_INT:
        return f'{{"intValue":"{int.__repr__(value)}"}}'
    if isinstance(value, float):
        return f'{{"doubleValue":{_double(value)}}}'
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        values = ",".join([_value(item, depth + 1) for item in value])
        return f'{{"arrayValue":{{"values":[{values}]}}}}'
    if isinstance(value, bytes):
        return f'{{"bytesValue":"{b64encode(value).decode()}"}}'
    if value is None:
        return "{}"
    try:
        return f'{{"stringValue":{_text(str(value))}}}'
    except Exception:  # of the value's own
        return f'{{"stringValue":{_text(type(value).__name__)}}}'


def _double(value: float) -> str:
    if isfinite(value):
        return float.__repr__(value)
    return '"NaN"' if value != value else '"Infinity"' if value > 0 else '"-Infinity"'


def _time(given: Any) -> int:
    """ns since 1970, as the protocol has them; somebody may have given anything."""
    return min(max(int(given or 0), 0), _MOST_TIME)
