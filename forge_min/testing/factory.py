"""The base class of factories, which create rows for tests.

gen/<resource>/factory.py has the values of a resource.
"""

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
# Row numbers by topic: two factories of one resource never use the same unique value.
_numbers: WeakKeyDictionary[Registry, dict[str, Iterator[int]]] = WeakKeyDictionary()


class Factory(Generic[R]):
    """Creates rows of one resource through its actions, as the system in the tenant of the test.

    Subclasses set `topic` and define `defaults`. A subclass in a project replaces the generated
    factory, for related rows too.

    site: a started application, or its registry.
    """

    topic: ClassVar[str]

    def __init__(self, site: Any) -> None:
        self.registry: Registry = getattr(site, "registry", site)
        self.actions: Actions[Any, Any, Any] = self.registry.actions[self.topic]

    @staticmethod
    def of(site: Any, topic: str) -> Factory[Any]:
        """Return the factory of a topic: the generated one, or its last subclass.

        Raises ForgeError F413 if no factory was generated.
        """
        actions = getattr(site, "registry", site).actions[topic]
        classes = type(actions).__mro__
        generated = classes[classes.index(Actions) - 1]
        module = generated.__module__.rpartition(".")[0] + ".factory"
        try:
            cls = getattr(importlib.import_module(module), f"{actions.resource.name}Factory")
        except ModuleNotFoundError:
            hint = f"run `forge-min generate`, which writes {module.replace('.', '/')}.py"
            raise ForgeError(f"no factory for {topic} was found", code="F413", hint=hint) from None
        while subclasses := cls.__subclasses__():
            cls = subclasses[-1]
        factory: Factory[Any] = cls(site)
        return factory

    def defaults(self, n: int) -> dict[str, Any]:
        """Return a value for each required field. n: number of the row, from 1."""
        raise NotImplementedError

    def related(self, topic: str) -> Any:
        """Return a value for `defaults`: the key of a new row, unless the test sets one."""
        return partial(self._related, topic)

    def build(self, **fields: Any) -> dict[str, Any]:
        """Return the values for `create`: the defaults and `fields`. Creates related rows."""
        numbers = _numbers.setdefault(self.registry, {}).setdefault(self.topic, count(1))
        values = self.defaults(next(numbers)) | fields
        for name, value in values.items():
            if isinstance(value, partial):
                values[name] = value()
        return values

    def create(self, **fields: Any) -> R:
        """Create a row. Raises the errors of `Actions.create`."""
        values = self.build(**fields)
        with as_identity(replace(SYSTEM, tenant=current_identity().tenant)):
            row: R = self.actions.create(values)
        return row

    def create_many(self, n: int, **fields: Any) -> list[R]:
        """Create n rows, all of them or none."""
        with db.transaction(self.actions.connection()):
            return [self.create(**fields) for _ in range(n)]

    def _related(self, topic: str) -> Any:
        factory = Factory.of(self.registry, topic)
        return factory.actions.key_of(factory.create())
