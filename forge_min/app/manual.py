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
        config = self.code.config
        project = config.project
        roles = self.code.roles(self.registry)
        facts = {
            "project": project.name,
            "version": project.version,
            "document": "/api/openapi.json",
            "program": f"python3 {project.name}.pyz",
            "admin": f"{config.admin.host}:{config.admin.port}",
            "roles": ", ".join(roles) or "–",
        }
        terms = Item(**{name: text(term, **facts) for name, term in _TABLE["terms"].items()})
        settings = []
        for key, value in config.masked().items():
            settings.append(Item(key=key, value=json.dumps(value), source=config.sources[key]))
        return {
            "title": terms.title,
            "terms": terms,
            "roles": [terms.anonymous, terms.signed_in, *roles],
            "resources": self._resources(roles),
            "routes": [*self._api()],
            "has_document": config.api.docs,
            "jobs": [*self._jobs()],
            "settings": settings,
            "runbook": [_runbook_entry(entry, facts) for entry in _TABLE["runbook"]],
        }

    def write(self, folder: Path) -> list[Path]:
        """Write index.html in English, a page such as de.html for each catalogue, and forge.css.

        Returns the paths of the pages. Raises ForgeError F002 if a file cannot be written.
        """
        pages = {"": folder / "index.html"}
        for language in LANGUAGES:
            pages[language] = folder / f"{language}.html"
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
            raise ForgeError(message, code="F002") from err
        return [*pages.values()]

    def _resources(self, roles: Sequence[str]) -> list[Item]:
        identities = [ANONYMOUS, Identity("user", tenant=_ANY_TENANT)]
        for role in roles:
            identities.append(Identity("user", frozenset([role]), _ANY_TENANT))
        resources = []
        for topic, actions in self.registry.actions.items():
            resource = Item(
                topic=topic,
                label=label_of(topic),
                fields=[_described(actions, field) for field in _fields(actions)],
                access=self._access(actions, identities),
                rules=[_sentence(rule) for rule in actions.resource.rules.values()],
            )
            resources.append(resource)
        return resources

    def _access(self, actions: AnyActions, identities: Collection[Identity]) -> list[Item]:
        """A line for each operation and each field, with a cell for each identity."""
        resource = actions.resource
        fields = _fields(actions)
        operations = ["read", "create", "update", "delete"]
        if resource.soft_delete:
            operations.append("restore")
        if resource.auditable:
            operations.append("audit")
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
        for periodic in schedules:
            cause = str(periodic.schedule)
            attempts = periodic.options.get("max_attempts")
            causes.setdefault(periodic.kind_name, []).append((cause, attempts))
        queues = declared_queues(self.registry, schedules).items()
        for worker in self.code.workers:
            kind = jobs.kind_of(worker)
            default = kind.max_attempts or self.code.config.jobs.max_attempts
            kind_causes = causes.get(kind.name) or [(_phrase("by_code"), None)]
            labels = dict.fromkeys(cause for cause, _ in kind_causes)
            numbers = dict.fromkeys(str(number or default) for _, number in kind_causes)
            yield Item(
                name=kind.name,
                about=text(_summary(worker)),
                causes=", ".join(labels),
                queue=", ".join(queue for queue, kinds in queues if kind.name in kinds),
                attempts=", ".join(numbers),
            )


def _phrase(name: str, **facts: object) -> str:
    return text(_TABLE["phrases"][name], **facts)


def _sentence(rule: Rule) -> str:
    return text(rule.message) or _phrase("unique_together", fields=", ".join(rule.fields))


def _runbook_entry(entry: Mapping[str, Any], facts: Mapping[str, str]) -> Item:
    commands = [line.format(**facts) for line in entry["commands"]]
    return Item(
        title=text(entry["title"]),
        text=text(entry["text"], **facts),
        commands="\n".join(commands),
    )


def _summary(documented: object) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def _fields(actions: AnyActions) -> list[FormField]:
    """All fields, with the rules of those that clients set."""
    inputs = {field.name: field for field in input_fields(actions.resource)}
    return [inputs.get(field.name, field) for field in display_fields(actions.resource)]


def _described(actions: AnyActions, field: FormField) -> Item:
    kind = field.kind
    target = ""
    if field.relation:
        target = label_of(field.relation.target)
        if kind != "many":
            kind = "belongs_to"
    choices = ", ".join(map(text, field.choices))
    return Item(
        label=field.label,
        name=field.name,
        kind=text(_TABLE["kinds"][kind], target=target, choices=choices),
        rules=", ".join(_rules(actions, field)),
        help=text(field.column.help) if field.column else "",
    )


def _rules(actions: AnyActions, field: FormField) -> Iterator[str]:
    digits, decimals = field.rules.get("precision") or (0, 0)
    for name, rule in _TABLE["rules"].items():
        value = field.rules.get(name, False)
        if value is not False:
            yield text(rule, value=value, digits=digits, decimals=decimals)
    column = field.column
    if field.name in actions.served:
        yield _phrase("server")
    if column and column.unique:
        yield _phrase("unique")
    if field.immutable:
        yield _phrase("immutable")
    if column and column.personal:
        yield _phrase("personal")


def _allowed(
    actions: AnyActions,
    operations: Sequence[str],
    fields: Sequence[FormField],
    identity: Identity,
) -> list[str]:
    """The permission of an identity for each operation, then for each field."""
    with as_identity(identity):
        permissions = {operation: actions.may(operation) for operation in operations}
        visible = actions.shown()
        protected = actions.served | actions.refused()
    cells = ["yes" if permissions[operation] else "no" for operation in operations]
    for field in fields:
        reads = permissions["read"] and field.name in visible
        writes = permissions["create"]
        if not field.immutable:
            writes |= permissions["update"]
        writes &= field.name not in protected
        cells.append(_READS_AND_WRITES[reads, writes])
    return [_phrase(cell) for cell in cells]
