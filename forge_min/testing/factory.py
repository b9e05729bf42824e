"""The base of factories, which make rows for tests; gen/<resource>/factory.py knows the values."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, ClassVar, Generic, TypeVar
from weakref import WeakKeyDictionary

from .. import db
from ..actions import Actions, Registry
from ..auth import SYSTEM, as_identity, current_identity
from ..errors import ForgeError

R = TypeVar("R")
# Rows made by topic: two factories of one resource never give the same unique value.
_numbers: WeakKeyDictionary[Registry, dict[str, Iterator[int]]] = WeakKeyDictionary()


class Factory(Generic[R]):
    """Makes rows of one resource through its actions, as the system in the test's own tenant.

    site: a started application, or its registry. Subclasses set `topic` and give `defaults`; a
    subclass of a project's own takes the place of the generated one for related rows too.
    """

    topic: ClassVar[str]

    def __init__(self, site: Any) -> None:
        self.registry: Registry = getattr(site, "registry", site)
        self.actions: Actions[Any, Any, Any] = self.registry.actions[self.topic]

    @staticmethod
    def of(site: Any, topic: str) -> Factory[Any]:
        """The factory of a topic: gen/'s, or the last one that was written on top of it.

        Raises ForgeError F413 where there is none.
        """
        actions = getattr(site, "registry", site).actions[topic]
        lineage = type(actions).__mro__
        module = lineage[lineage.index(Actions) - 1].__module__.rpartition(".")[0] + ".factory"
        try:
            made = getattr(importlib.import_module(module), f"{actions.resource.name}Factory")
        except ModuleNotFoundError:
            hint = f"run `forge-min generate`, which writes {module.replace('.', '/')}.py"
            raise ForgeError(f"there is no factory for {topic}", code="F413", hint=hint) from None
        while below := made.__subclasses__():
            made = below[-1]
        factory: Factory[Any] = made(site)
        return factory

    def defaults(self, n: int) -> dict[str, Any]:
        """A value for each field that a create must give. n: 1, 2, ..."""
        raise NotImplementedError

    def related(self, topic: str) -> Any:
        """In `defaults`: the key of a row of `topic`, which is made unless the test gives one."""
        return partial(self._related, topic)

    def build(self, **fields: Any) -> dict[str, Any]:
        """What `create` would send: the defaults, with `fields` in their places. Makes the related
        rows.
        """
        numbers = _numbers.setdefault(self.registry, {}).setdefault(self.topic, count(1))
        values = self.defaults(next(numbers)) | fields
        return {n: v() if isinstance(v, partial) else v for n, v in values.items()}

    def create(self, **fields: Any) -> R:
        """A new row. Raises what `Actions.create` raises."""
        values = self.build(**fields)
        with as_identity(replace(SYSTEM, tenant=current_identity().tenant)):
            row: R = self.actions.create(values)
        return row

    def create_many(self, n: int, **fields: Any) -> list[R]:
        """n new rows, all of them or none."""
        with db.transaction(self.actions.connection()):
            return [self.create(**fields) for _ in range(n)]

    def _related(self, topic: str) -> Any:
        made = Factory.of(self.registry, topic)
        return made.actions.key_of(made.create())
