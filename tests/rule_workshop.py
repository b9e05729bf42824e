"""Products with a rule: a maker has at most CAPACITY of them. As a script, it writes in every way
until it is stopped: `python rule_workshop.py URL SECONDS THREADS`.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from forge_min import db
from forge_min.actions import Actions, Registry, RowChange
from forge_min.auth import as_identity
from forge_min.errors import ForgeError

from workshop import BOSS, MAKERS, PRODUCTS, TAGS

CAPACITY = 5
COUNT = "select maker_id, count(*) from products where maker_id = any(%s) and deleted_at is null"


class ProductActions(Actions[Any, Any, Any]):
    """The actions of products, with the rule."""

    resource = PRODUCTS

    def rule(self, changes: Sequence[RowChange[Any]], conn: db.Connection) -> None:
        """A maker has at most CAPACITY products."""
        grown = {c.after.maker_id: c for c in changes if c.after and c.after.maker_id}
        conn.lock_rows("makers", grown)
        counts = conn.execute(COUNT + " group by 1", [list(grown)])
        for maker, number in counts.fetchall():
            if number > CAPACITY:
                grown[maker].error("maker_id", "full", "has no room")


def registry_of(database: db.Database) -> Registry:
    """The actions of products, makers and tags."""
    registry = Registry(database, {}, secret=b"of a workshop")
    for resource in (MAKERS, TAGS):
        registry.add(type(resource.name + "Actions", (Actions,), {"resource": resource}))
    registry.add(ProductActions)
    return registry


def write(products: Actions[Any, Any, Any], makers: list[str], chance: random.Random) -> None:
    """One random write of products."""
    maker, code = chance.choice(makers), f"p{chance.randrange(100)}"
    values = {"code": code, "maker_id": maker}
    few = [{"code": f"p{chance.randrange(100)}", "maker_id": maker} for _ in range(3)]
    page = products.list()
    row: Any = chance.choice(page.rows) if page.rows else None
    ways: list[Any] = [
        lambda: products.create(values),
        lambda: products.create_many(few),
        lambda: products.upsert_many(few, key="code"),
    ]
    if row is not None:
        ways += [
            lambda: products.update(row.id, {"maker_id": maker}),
            lambda: products.replace(row.id, values),
            lambda: products.delete(row.id),
            lambda: (products.delete(row.id), products.restore(row.id)),
        ]
    chance.choice(ways)()


def main(url: str, seconds: float, threads: int) -> None:
    """Write on many threads, then print how often each result occurred, and the slowest write."""
    database = db.Database(url)
    registry = registry_of(database)
    results: Counter[str] = Counter()
    slowest = [0.0]
    with as_identity(BOSS):
        makers = [str(row.id) for row in registry.actions["makers"].list().rows]

    def run(seed: int) -> None:
        chance, end = random.Random(seed), time.monotonic() + seconds
        with as_identity(BOSS):
            while time.monotonic() < end:
                began = time.monotonic()
                try:
                    write(registry.actions["products"], makers, chance)
                    results["done"] += 1
                except ForgeError as err:
                    results[f"{type(err).__name__} {err.code}"] += 1
                slowest[0] = max(slowest[0], time.monotonic() - began)

    running = [threading.Thread(target=run, args=(n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    print("started", flush=True)
    for thread in running:
        thread.join()
    print(slowest[0], dict(results), flush=True)
    database.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
