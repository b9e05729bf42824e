"""From the values of the schema language to the IR: the one way there, parsed or imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from .. import schema
from .ir import FieldIR, HooksIR, JobRefIR, RelationIR, ResourceIR, Span
from .names import kebab, snake, table_of


def lower(
    resource: schema.Resource, source: str, span: Span, spans: Sequence[Span] = ()
) -> ResourceIR:
    """The IR of a resource without mistakes.

    source: its file, relative to the project. span: where its name stands. spans: one for each
    part; none (a resource that was imported) means `span` for all.
    """
    places = tuple(spans) or (span,) * len(resource.parts)
    table = table_of(resource)
    return ResourceIR(
        name=resource.name,
        folder=PurePosixPath(source).parent.name,
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
    given = [part.hooks for part in parts if isinstance(part, schema.WithHooks)]
    hooks = given[0] if given else schema.Hooks()
    groups = (hooks.after_create, hooks.after_update, hooks.after_delete)
    return HooksIR(*(tuple(map(_job, group)) for group in groups))


def _job(job: schema.JobRef) -> JobRefIR:
    return JobRefIR(job.kind, job.queue, job.priority, job.max_attempts, job.delay)
