"""The manual of one application: data, roles, API, jobs, configuration and a runbook.

All of it is read from the code and the configuration, so it is true of this very process.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace as Item
from typing import Any, NamedTuple
from uuid import UUID

from .. import jobs
from ..actions import Registry, Rule
from ..auth import ANONYMOUS, Identity, as_identity
from ..errors import ForgeError
from ..html import AnyActions, FormField, display_fields, input_fields, label_of, manual_file
from ..i18n import LANGUAGES, humanize, in_language, text
from ..resources import files, table
from ..wsgi import Route
from .declaration import ProjectCode, declared_queues

_TABLE: Mapping[str, Any] = table(__package__, "manual.toml")
_OPERATIONS: Mapping[str, str] = _TABLE["operations"]
_HOOKS = ("after_create", "after_update", "after_delete")
_ANY_TENANT = UUID(int=0)
_READS_AND_WRITES = {
    (True, True): "both", (True, False): "reads", (False, True): "writes", (False, False): "no",
}  # fmt: skip


class ApplicationManual(NamedTuple):
    """The manual of an application. routes: all of its routes."""

    code: ProjectCode
    registry: Registry
    routes: Sequence[Route]

    def content(self) -> dict[str, Any]:
        """Return the title and the other variables of manual.html, in the current language."""
        config, roles = self.code.config, self.code.roles(self.registry)
        project, admin = config.project, config.admin
        facts = {
            "project": project.name,
            "version": project.version,
            "document": "/api/openapi.json",
            "program": f"python3 {project.name}.pyz",
            "admin": f"{admin.host}:{admin.port}",
            "roles": ", ".join(roles) or "–",
        }
        terms = Item(**{name: text(term, **facts) for name, term in _TABLE["terms"].items()})
        identities = [ANONYMOUS, Identity("user", tenant=_ANY_TENANT)]
        identities += [Identity("user", frozenset([role]), _ANY_TENANT) for role in roles]
        resources = [
            Item(
                topic=topic,
                label=label_of(topic),
                fields=[_described(actions, field) for field in _fields(actions)],
                access=self._access(actions, identities),
                rules=[_sentence(rule) for rule in actions.resource.rules.values()],
            )
            for topic, actions in self.registry.actions.items()
        ]
        settings = [
            Item(key=key, value=json.dumps(value), source=config.sources[key])
            for key, value in config.masked().items()
        ]
        runbook = [
            Item(
                title=text(entry["title"]),
                text=text(entry["text"], **facts),
                commands="\n".join(line.format(**facts) for line in entry["commands"]),
            )
            for entry in _TABLE["runbook"]
        ]
        return {
            "title": terms.title,
            "terms": terms,
            "roles": [terms.anonymous, terms.signed_in, *roles],
            "resources": resources,
            "routes": [*self._api()],
            "has_document": config.api.docs,
            "jobs": [*self._jobs()],
            "settings": settings,
            "runbook": runbook,
        }

    def write(self, folder: Path) -> list[Path]:
        """Write index.html in English, a page such as de.html for each catalogue, and forge.css.

        Returns the paths of the pages. Raises ForgeError F612 if a file cannot be written.
        """
        pages = {language: folder / f"{language or 'index'}.html" for language in ("", *LANGUAGES)}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            style = files("forge_min.html") / "assets" / "forge.css"
            (folder / "forge.css").write_bytes(style.read_bytes())
            for language, path in pages.items():
                with in_language(language):
                    page = manual_file.render(language=language or "en", **self.content())
                path.write_text(page, "utf-8")
        except OSError as err:
            message = f"cannot write {err.filename or folder}: {err.strerror}"
            raise ForgeError(message, code="F612") from err
        return [*pages.values()]

    def _access(self, actions: AnyActions, identities: Collection[Identity]) -> list[Item]:
        """A line for each operation and each field, with a cell for each identity."""
        resource, fields = actions.resource, _fields(actions)
        operations = ["read", "create", "update", "delete"]
        operations += ["restore"] if resource.soft_delete else []
        operations += ["audit"] if resource.auditable else []
        operations += [transition.name for transition in resource.transitions]
        operations += [name for topic, name, *_ in self.code.app.verbs if topic == resource.topic]
        operations = [*dict.fromkeys(operations)]  # a verb may have the name of another one
        labels = [text(_OPERATIONS.get(name) or humanize(name)) for name in operations]
        operations += [actions.report_operation(name) for name in resource.reports]
        labels += [_phrase("report", title=label_of(name)) for name in resource.reports]
        labels += [field.label for field in fields]
        columns = [_allowed(actions, operations, fields, identity) for identity in identities]
        lines = zip(labels, *columns, strict=True)
        return [Item(label=label, cells=cells) for label, *cells in lines]

    def _api(self) -> Iterator[Item]:
        for route in self.routes:
            if route.pattern.startswith(self.code.config.api.prefix + "/"):
                operation = route.name.rpartition(".")[2]
                effect = text(_OPERATIONS.get(operation) or _summary(route.handler))
                yield Item(method=route.method, pattern=route.pattern, effect=effect)

    def _jobs(self) -> Iterator[Item]:
        causes: dict[str, list[tuple[str, int | None]]] = {}  # with the attempts, if given
        for actions in self.registry.actions.values():
            for event in _HOOKS:
                cause = _phrase(event, resource=label_of(actions.resource.topic))
                for hook in getattr(actions.resource, event):
                    causes.setdefault(hook.kind, []).append((cause, hook.max_attempts))
        schedules = self.code.app.schedules
        for each in schedules:
            name = each.kind if isinstance(each.kind, str) else each.kind.kind
            attempts = each.options.get("max_attempts")
            causes.setdefault(name, []).append((str(each.schedule), attempts))
        queues = declared_queues(self.registry, schedules).items()
        for worker in self.code.workers:
            kind = jobs.kind_of(worker)
            usual = kind.max_attempts or self.code.config.jobs.max_attempts
            known = causes.get(kind.name) or [(_phrase("by_code"), None)]
            yield Item(
                name=kind.name,
                about=text(_summary(worker)),
                causes=", ".join(dict.fromkeys(cause for cause, _ in known)),
                queue=", ".join(queue for queue, kinds in queues if kind.name in kinds),
                attempts=", ".join(dict.fromkeys(str(most or usual) for _, most in known)),
            )


def _phrase(name: str, **facts: object) -> str:
    return text(_TABLE["phrases"][name], **facts)


def _sentence(rule: Rule) -> str:
    return text(rule.message) or _phrase("unique_together", fields=", ".join(rule.fields))


def _summary(documented: object) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def _fields(actions: AnyActions) -> list[FormField]:
    """All fields, with the rules of those that clients set."""
    inputs = {field.name: field for field in input_fields(actions.resource)}
    return [inputs.get(field.name, field) for field in display_fields(actions.resource)]


def _described(actions: AnyActions, field: FormField) -> Item:
    kind = "belongs_to" if field.relation and field.kind != "many" else field.kind
    target = label_of(field.relation.target) if field.relation else ""
    limits = [name for name in _TABLE["rules"] if field.rules.get(name, False) is not False]
    digits, decimals = field.rules.get("precision") or (0, 0)
    rules = [
        text(_TABLE["rules"][name], value=field.rules[name], digits=digits, decimals=decimals)
        for name in limits
    ]
    rules += [_phrase("server")] if field.name in actions.served else []
    rules += [_phrase("unique")] if field.column and field.column.unique else []
    rules += [_phrase("immutable")] if field.immutable else []
    rules += [_phrase("personal")] if field.column and field.column.personal else []
    choices = ", ".join(map(text, field.choices))
    return Item(
        label=field.label,
        name=field.name,
        kind=text(_TABLE["kinds"][kind], target=target, choices=choices),
        rules=", ".join(rules),
        help=text(field.column.help) if field.column else "",
    )


def _allowed(
    actions: AnyActions,
    operations: Sequence[str],
    fields: Sequence[FormField],
    identity: Identity,
) -> list[str]:
    """The permission of an identity for each operation, then for each field."""
    with as_identity(identity):
        may = {operation: actions.may(operation) for operation in operations}
        shown, refused = actions.shown(), actions.served | actions.refused()
    cells = ["yes" if may[operation] else "no" for operation in operations]
    for field in fields:
        reads = may["read"] and field.name in shown
        changes = may["create"] or may["update"] and not field.immutable
        cells.append(_READS_AND_WRITES[reads, changes and field.name not in refused])
    return [_phrase(cell) for cell in cells]
