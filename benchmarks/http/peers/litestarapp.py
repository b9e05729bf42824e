"""Litestar on granian with asyncpg and msgspec."""

from __future__ import annotations

import datetime
import json
import uuid
from typing import Annotated, Any, Literal

import asyncpg
import msgspec
from jinja2 import Environment
from litestar import Litestar, MediaType, get, post
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from shared import COLUMNS, COUNT, INSERT, JOB, ORDERS, PAGE, PAGE_OF, ROW, URL

TEMPLATE = Environment(autoescape=True).from_string(PAGE)


class New(msgspec.Struct):
    """What a create takes."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    price: Annotated[int, msgspec.Meta(ge=0)]
    status: Literal["active", "draft", "sold", "archived", "new"]


class Product(msgspec.Struct):
    """A row."""

    id: uuid.UUID
    name: str
    price: int
    status: str
    created_at: datetime.datetime


class Page(msgspec.Struct):
    """A list."""

    data: list[Product]
    total: int


async def connect(app: Litestar) -> None:
    """Eight connections."""
    app.state.pool = await asyncpg.create_pool(URL, min_size=8, max_size=8)


@get(["/hello", *(f"/things{number}" for number in range(45))])
async def hello() -> dict[str, str]:
    """Case hello."""
    return {"message": "hello"}


@get("/products/{id:uuid}")
async def row(state: State, id: uuid.UUID) -> Product:
    """Case row."""
    async with state.pool.acquire() as conn:
        found = await conn.fetchrow(ROW + "$1", id)
    if found is None:
        raise NotFoundException
    return Product(**found)


async def page_of(state: State, status: str, sort: str) -> tuple[list[Any], int]:
    """25 rows and the count of all."""
    async with state.pool.acquire() as conn:
        rows = await conn.fetch(f"{PAGE_OF}$1 order by {ORDERS[sort]} limit 25", status)
        return rows, await conn.fetchval(COUNT + "$1", status)


@get("/products")
async def rows(state: State, status: str = "active", sort: str = "-created_at") -> Page:
    """Case list."""
    found, total = await page_of(state, status, sort)
    return Page(data=[Product(**item) for item in found], total=total)


@post("/products")
async def create(state: State, data: New) -> Product:
    """Case create."""
    async with state.pool.acquire() as conn, conn.transaction():
        statement = f"{INSERT}($1, $2, $3) returning {COLUMNS}"
        made = await conn.fetchrow(statement, data.name, data.price, data.status)
        await conn.execute(JOB + "$1)", json.dumps({"id": str(made["id"])}))
    return Product(**made)


@get("/html", media_type=MediaType.HTML)
async def page(state: State) -> str:
    """Case html."""
    found, total = await page_of(state, "active", "-created_at")
    return TEMPLATE.render(rows=found, total=total)


app = Litestar([hello, row, rows, create, page], on_startup=[connect])
