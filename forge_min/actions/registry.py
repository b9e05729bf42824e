"""The registry: which actions, routes and workers an application has. gen/ fills it, `app` reads
it.

It also fills in by name what a worker or a handler asks for: a dependency of `app.provide`, or the
actions of a resource, which are known by its topic.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import partial, update_wrapper
from typing import Any, TypeVar

from .. import db, jobs
from ..errors import ForgeError
from ..jobs import JobHook
from .actions import Actions
from .base import DEFAULTS, Limits
from .query import MAX_CONDITIONS
from .resource import Relation, Resource

_KEYWORDS = inspect.Parameter.VAR_KEYWORD
A = TypeVar("A", bound=Actions[Any, Any, Any])


class Registry:
    """Names → services of one running application. Filled once at start, then read by any
    thread.

    secret: what cursors are signed with; by default one of this process alone.
    limits: of all actions. max_conditions: of a list that a URL requests.
    """

    def __init__(
        self,
        database: db.Database,
        dependencies: Mapping[str, object],
        *,
        secret: bytes = b"",
        limits: Limits = DEFAULTS,
        max_conditions: int = MAX_CONDITIONS,
    ) -> None:
        self._limits = limits
        self.database = database
        self.max_conditions = max_conditions
        self.secret = secret or secrets.token_bytes(32)
        self.actions: dict[str, Actions[Any, Any, Any]] = {}
        self._dependencies = dict(dependencies)
        self._workers: dict[str, type[Any]] = {}

    def add(self, actions: type[A]) -> A:
        """Make the actions of a resource; they are known by the resource's topic from now on."""
        made = actions(self.database)
        made.registry, made.limits = self, self._limits
        self.actions[made.resource.topic] = made
        return made

    def referencing_relations(
        self, resource: Resource[Any]
    ) -> list[tuple[Actions[Any, Any, Any], Relation]]:
        """The relations of others that something happens to when a row of `resource` is deleted.

        Of a tenant's rows only where the row itself is a tenant's; else no one tenant's action can
        do it, and the database does.
        """
        return [
            (actions, relation)
            for actions in self.actions.values()
            if resource.tenant_scoped or not actions.resource.tenant_scoped
            for relation in actions.resource.relations
            if relation.target == resource.topic and relation.on_delete != "restrict"
        ]

    def add_workers(self, workers: Iterable[type[Any]]) -> None:
        """Register worker classes by their `kind`.

        Raises ForgeError F701 when a kind has two classes.
        """
        for worker in workers:
            if self._workers.setdefault(worker.kind, worker) is not worker:
                raise ForgeError(
                    f"two worker classes have the kind {worker.kind}",
                    code="F701",
                    hint="a kind is one class; several hooks and resources may use it",
                )

    def bind_hooks(self, max_attempts: int = 25) -> None:
        """Give each hook the attempts that its worker class asks for, else max_attempts.

        Raises ForgeError F702 when one names a kind that no worker class has, F719 when that takes
        other arguments than a hook gives.
        """
        known = self.declared()
        for topic, actions in self.actions.items():
            r = actions.resource
            created, updated, deleted = (
                tuple(_bound(topic, hook, known, max_attempts) for hook in hooks)
                for hooks in (r.after_create, r.after_update, r.after_delete)
            )
            # This application's: the generated class serves others too.
            vars(actions)["resource"] = r._replace(
                after_create=created, after_update=updated, after_delete=deleted
            )

    def declared(self) -> dict[str, jobs.Kind]:
        """The kinds as their worker classes say them; none of these is made."""
        return {name: jobs.kind_of(worker) for name, worker in self._workers.items()}

    def kinds(self) -> dict[str, jobs.Kind]:
        """The kinds of jobs that there are workers for, each an instance that got what its __init__
        asks for by name.

        Raises ForgeError F703 for a dependency that nobody provides, F717 for arguments of a type
        that JSON has no word for.
        """
        return {kind: jobs.kind_of(self.fill(made, 0)()) for kind, made in self._workers.items()}

    def fill(self, function: Callable[..., Any], given: int) -> Callable[..., Any]:
        """`function` with every parameter after the first `given` ones filled in by its name.

        Raises ForgeError F703 for a name that nobody provides; a parameter with a default may stay
        without.
        """
        known: dict[str, object] = {**self.actions, **self._dependencies}
        values = {}
        for parameter in list(inspect.signature(function).parameters.values())[given:]:
            if parameter.name in known:
                values[parameter.name] = known[parameter.name]
            elif parameter.default is parameter.empty and parameter.kind is not _KEYWORDS:
                raise ForgeError(
                    f"{function.__qualname__} asks for {parameter.name}, which nobody provides",
                    code="F703",
                    hint=f"app.provide({parameter.name}=...), or the topic of a resource",
                )
        return update_wrapper(partial(function, **values), function) if values else function


def _bound(topic: str, hook: JobHook, known: Mapping[str, jobs.Kind], max_attempts: int) -> JobHook:
    kind, found = hook.kind, known.get(hook.kind)
    if found is None:
        raise ForgeError(
            f"{topic} enqueues {kind}, and no worker class has this kind",
            code="F702",
            hint=f"write class {kind} in its jobs.py, and list it in WORKERS",
        )
    if found.args not in (None, jobs.Change):
        raise ForgeError(
            f"{topic} enqueues {kind}, whose arguments are {found.args.__name__}",
            code="F719",
            hint="a hook's job tells of a change: args = jobs.Change, or none and job.change",
        )
    return hook._replace(max_attempts=hook.max_attempts or found.max_attempts or max_attempts)
