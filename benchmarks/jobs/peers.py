"""The Python peers, each with the settings that its manual gives: procrastinate, pgqueuer, chancy,
oban.

    python peers.py PEER URL setup|one|bulk|drain|pickup|insert [CONCURRENCY]
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from common import JOBS, PAUSE, PICKED_UP, SECONDS, Seen, left, ready, tell

seen = Seen()
Insert = Callable[[int], Awaitable[Any]]


class Procrastinate:
    """Its own connector on psycopg, a pool of ten."""

    left = "select count(*) from procrastinate_jobs where status <> 'succeeded'"
    clear = "truncate procrastinate_jobs cascade"

    def __init__(self, url: str, concurrency: int) -> None:
        import procrastinate

        connector = procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=10)
        self.app, self.concurrency = procrastinate.App(connector=connector), concurrency

        @self.app.task(name="noop")
        async def noop(k: int) -> None:
            seen.hit(k)

        self.noop = noop

    async def setup(self) -> None:
        async with self.app.open_async():
            await self.app.schema_manager.apply_schema_async()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Insert]:
        async with self.app.open_async():
            yield lambda k: self.noop.defer_async(k=k)

    async def bulk(self, count: int) -> None:
        await self.noop.batch_defer_async(*[{"k": n} for n in range(count)])

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with self.app.open_async():
            worker = self.app.run_worker_async(
                concurrency=self.concurrency, install_signal_handlers=False
            )
            task = asyncio.create_task(worker)
            yield
            task.cancel()


class Pgqueuer:
    """asyncpg; concurrency is its batch."""

    left = "select count(*) from pgqueuer"
    clear = "truncate pgqueuer"

    def __init__(self, url: str, concurrency: int) -> None:
        self.url, self.concurrency = url, concurrency

    async def _queries(self) -> Any:
        import asyncpg
        from pgqueuer.db import AsyncpgDriver
        from pgqueuer.queries import Queries

        self.conn = await asyncpg.connect(self.url)
        return Queries(AsyncpgDriver(self.conn))

    async def setup(self) -> None:
        await (await self._queries()).install()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Insert]:
        self.queries = await self._queries()
        yield lambda k: self.queries.enqueue("noop", str(k).encode())
        await self.conn.close()

    async def bulk(self, count: int) -> None:
        payloads: list[Any] = [str(n).encode() for n in range(count)]
        await self.queries.enqueue(["noop"] * count, payloads, [0] * count)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        import asyncpg
        from pgqueuer import PgQueuer
        from pgqueuer.db import AsyncpgDriver

        app = PgQueuer(AsyncpgDriver(await asyncpg.connect(self.url)))

        @app.entrypoint("noop")
        async def noop(job: Any) -> None:
            seen.hit(int(job.payload))

        task = asyncio.create_task(app.run(batch_size=self.concurrency))
        yield
        app.shutdown.set()
        await asyncio.wait([task], timeout=5)


class ChancyPeer:
    """Its asyncio executor, with eager polling."""

    left = "select count(*) from chancy_jobs where state <> 'succeeded'"
    clear = "truncate chancy_jobs"

    def __init__(self, url: str, concurrency: int) -> None:
        self.url, self.concurrency = url, concurrency

    async def setup(self) -> None:
        from chancy import Chancy, Queue

        async with Chancy(self.url) as app:
            await app.migrate()
            queue = Queue(
                "default",
                concurrency=self.concurrency,
                executor=Chancy.Executor.Async,
                eager_polling=True,
                polling_interval=1,
            )
            await app.declare(queue, upsert=True)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Insert]:
        from chancy import Chancy

        async with Chancy(self.url) as self.app:
            yield lambda k: self.app.push(chancy_job().job.with_kwargs(k=k))

    async def bulk(self, count: int) -> None:
        made = [chancy_job().job.with_kwargs(k=n) for n in range(count)]
        async for _ in self.app.push_many(made, batch_size=10_000):
            pass

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        from chancy import Chancy, Worker

        async with (
            Chancy(self.url) as app,
            Worker(app, register_signal_handlers=False),
        ):
            yield


class ObanPeer:
    """asyncpg; the queue's limit is its concurrency."""

    left = "select count(*) from oban_jobs where state <> 'completed'"
    clear = "truncate oban_jobs"

    def __init__(self, url: str, concurrency: int) -> None:
        self.url, self.concurrency = url, concurrency

    async def _pool(self) -> Any:
        from oban import Oban

        return await Oban.create_pool(self.url, min_size=4, max_size=10)

    async def setup(self) -> None:
        from oban.schema import install

        pool = await self._pool()
        await install(pool)
        await pool.close()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Insert]:
        from oban import Oban

        pool = await self._pool()
        async with Oban(pool=pool) as self.oban:
            yield lambda k: self.oban.enqueue(oban_worker().new({"k": k}))
        await pool.close()

    async def bulk(self, count: int) -> None:
        await self.oban.enqueue_many([oban_worker().new({"k": n}) for n in range(count)])

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        from oban import Oban

        oban_worker()
        pool = await self._pool()
        async with Oban(pool=pool, queues={"default": self.concurrency}):
            yield
        await pool.close()


_made: dict[str, Any] = {}

if sys.argv[1:2] == ["chancy"]:
    from chancy import job

    @job(queue="default")
    async def noop(*, k: int) -> None:
        """The job, which chancy finds by the name of its module."""
        seen.hit(k)

    sys.modules["peers"] = sys.modules["__main__"]
    noop.__module__ = "peers"


def chancy_job() -> Any:
    """The job as a client names it."""
    return noop


def oban_worker() -> Any:
    """The worker, which oban finds by its name."""
    if "oban" not in _made:
        from oban import worker

        @worker(queue="default")
        class Noop:
            async def process(self, job: Any) -> None:
                seen.hit(job.args["k"])

        _made["oban"] = Noop
    return _made["oban"]


PEERS: dict[str, Any] = {
    "procrastinate": Procrastinate,
    "pgqueuer": Pgqueuer,
    "chancy": ChancyPeer,
    "oban": ObanPeer,
}


async def one(peer: Any) -> None:
    async with peer.client() as insert:
        await insert(-1)
        count, began = 0, time.monotonic()
        while time.monotonic() - began < SECONDS:
            await insert(-1)
            count += 1
        tell(one_per_second=count / (time.monotonic() - began))


async def bulk(peer: Any) -> None:
    async with peer.client():
        began = time.monotonic()
        await peer.bulk(JOBS)
        tell(bulk_per_second=JOBS / (time.monotonic() - began))


async def drain(peer: Any, url: str) -> None:
    began = time.monotonic()
    async with peer.working():
        while seen.count < JOBS:
            await asyncio.sleep(0.005)
        while await asyncio.to_thread(left, url, peer.left):
            await asyncio.sleep(0.005)
        tell(drain_per_second=JOBS / (time.monotonic() - began))


async def pickup(peer: Any) -> None:
    async with peer.working():
        await asyncio.sleep(1.0)
        await asyncio.to_thread(ready)
        until = time.monotonic() + 10
        while seen.count < PICKED_UP and time.monotonic() < until:
            await asyncio.sleep(0.05)
        tell(seen=seen.at)


async def insert(peer: Any) -> None:
    committed = {}
    async with peer.client() as put:
        for number in range(PICKED_UP):
            await put(number)
            committed[number] = time.monotonic()
            await asyncio.sleep(PAUSE)
    tell(committed=committed)


def main() -> None:
    """One verb, one line of figures."""
    name, url, verb, concurrency = [*sys.argv[1:], "50"][:4]
    peer = PEERS[name](url, int(concurrency))
    if verb == "clear":
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(peer.clear)
        tell(cleared=True)
    elif verb == "setup":
        asyncio.run(peer.setup())
        tell(made=True)
    else:
        verbs = {"one": one, "bulk": bulk, "pickup": pickup, "insert": insert}
        asyncio.run(drain(peer, url) if verb == "drain" else verbs[verb](peer))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
