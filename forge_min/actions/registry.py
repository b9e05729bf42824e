"""The registry of the actions and workers of an application, filled by gen/ and read by `app`.

It also sets the parameters of workers and handlers by name: to a dependency of `app.provide`, or
to the actions of the resource with this topic.
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
from .resource import AnyResource, Relation

A = TypeVar("A", bound=Actions[Any, Any, Any])


class Registry:
    """The services of one running application by name.

    It is filled once at start, then read by any thread.

    dependencies: name → object, for parameters of this name; more may be added.
    secret: signs cursors; by default one of this process only.
    limits: for all actions.
    advises: whether lists that no index serves are logged.
    """

    advises = False

    def __init__(
        self,
        database: db.Database,
        dependencies: Mapping[str, object],
        *,
        secret: bytes = b"",
        limits: Limits = DEFAULTS,
    ) -> None:
        self._limits = limits
        self.database = database
        self.secret = secret or secrets.token_bytes(32)
        self.actions: dict[str, Actions[Any, Any, Any]] = {}
        self.dependencies: dict[str, Any] = dict(dependencies)
        self._workers: dict[str, type[Any]] = {}

    def add(self, actions: type[A]) -> A:
        """Create the actions of a resource, and register them by the topic of the resource."""
        instance = actions(self.database)
        instance.registry = self
        instance.limits = self._limits
        self.actions[instance.resource.topic] = instance
        return instance

    def referencing_relations(
        self, resource: AnyResource
    ) -> list[tuple[Actions[Any, Any, Any], Relation]]:
        """Return the relations by which deleting a row of `resource` affects other rows.

        For a resource that belongs to no tenant, relations of a tenant's rows are left out: actions
        see the rows of one tenant only, so the database applies the effects.
        """
        referencing = []
        for actions in self.actions.values():
            if actions.resource.tenant_scoped and not resource.tenant_scoped:
                continue
            for relation in actions.resource.relations:
                if relation.target == resource.topic and relation.on_delete != "restrict":
                    referencing.append((actions, relation))
        return referencing

    def add_workers(self, workers: Iterable[type[Any]]) -> None:
        """Register worker classes by their `kind`.

        Raises ForgeError F701 if two classes have the same kind.
        """
        for worker in workers:
            if self._workers.setdefault(worker.kind, worker) is not worker:
                raise ForgeError(
                    f"two worker classes have the kind {worker.kind}",
                    code="F701",
                    hint="a kind is one class; several hooks and resources may use it",
                )

    def bind_hooks(self, max_attempts: int = 25) -> None:
        """Set the attempts of each hook to those of its worker class, else to `max_attempts`.

        Raises ForgeError F716 if no worker class has the kind of a hook, F719 if the arguments of
        that class are not those of a hook.
        """
        kinds = self.declared()
        for topic, actions in self.actions.items():
            bound: dict[str, Any] = {}
            for name in ("after_create", "after_update", "after_delete"):
                hooks = getattr(actions.resource, name)
                bound[name] = tuple(_bound(topic, hook, kinds, max_attempts) for hook in hooks)
            # Set on the instance: other applications use the generated class too.
            vars(actions)["resource"] = actions.resource._replace(**bound)

    def declared(self) -> dict[str, jobs.Kind]:
        """Return the kinds that the worker classes declare, without creating instances."""
        return {name: jobs.kind_of(worker) for name, worker in self._workers.items()}

    def kinds(self) -> dict[str, jobs.Kind]:
        """Return the kinds of jobs with a worker, each with an instance of the worker class.

        The parameters of its __init__ are set by name.

        Raises ForgeError F703 for an unknown dependency, F723 for arguments of a type that JSON
        cannot express.
        """
        kinds = {}
        for name, worker in self._workers.items():
            create = self.fill(worker, 0)
            kinds[name] = jobs.kind_of(create())
        return kinds

    def fill(self, function: Callable[..., Any], positional: int) -> Callable[..., Any]:
        """Return `function` with all parameters after the first `positional` ones set by name.

        Raises ForgeError F703 for an unknown name, unless the parameter has a default.
        """
        provided = {**self.actions, **self.dependencies}
        values = {}
        parameters = inspect.signature(function).parameters.values()
        for parameter in list(parameters)[positional:]:
            if parameter.name in provided:
                values[parameter.name] = provided[parameter.name]
            elif (
                parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
            ):
                raise ForgeError(
                    f"{function.__qualname__} needs {parameter.name}, which is not provided",
                    code="F703",
                    hint=f"call app.provide({parameter.name}=...), or use the topic of a resource",
                )
        if not values:
            return function
        return update_wrapper(partial(function, **values), function)


def _bound(topic: str, hook: JobHook, kinds: Mapping[str, jobs.Kind], max_attempts: int) -> JobHook:
    kind = kinds.get(hook.kind)
    if kind is None:
        raise ForgeError(
            f"{topic} enqueues {hook.kind}, but no worker class has this kind",
            code="F716",
            hint=f"write class {hook.kind} in its jobs.py, and add it to WORKERS",
        )
    if kind.args not in (None, jobs.Change):
        raise ForgeError(
            f"{topic} enqueues {hook.kind}, which takes arguments of {kind.args.__name__}",
            code="F719",
            hint="jobs of a hook describe a change: use args = jobs.Change, or only job.change",
        )
    return hook._replace(max_attempts=hook.max_attempts or kind.max_attempts or max_attempts)
