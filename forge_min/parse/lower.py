"""From the values of the schema language to the IR: the one way there, parsed or imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from .. import schema
from .evaluate import Call, Node
from .ir import FieldIR, HooksIR, JobRefIR, RelationIR, ResourceIR, Span
from .names import kebab, plural, snake
from .signature import FUNCTIONS


def run(call: Call) -> schema.Resource:
    """The resource of a checked define: calls the schema language's own functions, nothing else."""
    resource = _value(call)
    assert isinstance(resource, schema.Resource)
    return resource


def _value(node: Node) -> Any:
    if isinstance(node, Call):
        named = {name: _value(arg) for name, arg in node.args.items()}
        function = FUNCTIONS[node.function].function
        if node.parts:
            name = named.pop("name")
            return function(name, *map(_value, node.parts), **named)
        return function(**named)
    return tuple(_value(item) for item in node.items) if node.items else node.value


def lower(
    resource: schema.Resource, source: str, span: Span, spans: Sequence[Span] = ()
) -> ResourceIR:
    """The IR of a resource without mistakes.

    source: its file, relative to the project. span: where its name stands. spans: one for each
    part; none (a resource that was imported) means `span` for all.
    """
    places = tuple(spans) or (span,) * len(resource.parts)
    folder = PurePosixPath(source).parent.name
    table = resource.plural or plural(snake(resource.name))
    return ResourceIR(
        name=resource.name,
        folder=folder,
        table=table,
        path=kebab(table),
        source=source,
        span=span,
        members=tuple(
            _member(part, place)
            for part, place in zip(resource.parts, places, strict=True)
            if isinstance(part, schema.Field | schema.BelongsTo)
        ),
        timestamps=any(isinstance(part, schema.Timestamps) for part in resource.parts),
        hooks=_hooks(resource.parts),
    )


def _member(part: schema.Field | schema.BelongsTo, span: Span) -> FieldIR | RelationIR:
    if isinstance(part, schema.Field):
        values = {name: getattr(part, name) for name in part.__slots__}
        return FieldIR(span=span, has_default=part.default is not None, **values)
    name = part.name or snake(part.target)
    return RelationIR(name, part.target, span, part.required, part.on_delete, part.label)


def _hooks(parts: Sequence[schema.Part]) -> HooksIR:
    for part in parts:
        if isinstance(part, schema.WithHooks):
            hooks = part.hooks
            groups = (hooks.after_create, hooks.after_update, hooks.after_delete)
            return HooksIR(*(tuple(map(_job, group)) for group in groups))
    return HooksIR()


def _job(job: schema.JobRef) -> JobRefIR:
    return JobRefIR(job.kind, job.queue, job.priority, job.max_attempts, job.delay)
