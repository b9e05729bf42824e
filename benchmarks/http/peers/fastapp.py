"""FastAPI on uvicorn with asyncpg, written as its documentation would."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import asyncpg
from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from pydantic import BaseModel, Field
from shared import COLUMNS, COUNT, INSERT, JOB, ORDERS, PAGE, PAGE_OF, ROW, URL

TEMPLATE = Environment(autoescape=True).from_string(PAGE)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Eight connections."""
    app.state.pool = await asyncpg.create_pool(URL, min_size=8, max_size=8)
    yield


app = FastAPI(lifespan=lifespan)


class New(BaseModel):
    """What a create takes."""

    name: str = Field(min_length=1, max_length=100)
    price: int = Field(ge=0)
    status: Literal["active", "draft", "sold", "archived", "new"]


class Product(BaseModel):
    """A row."""

    id: uuid.UUID
    name: str
    price: int
    status: str
    created_at: datetime.datetime


class Page(BaseModel):
    """A list."""

    data: list[Product]
    total: int


@app.get("/hello")
async def hello() -> dict[str, str]:
    """Case hello."""
    return {"message": "hello"}


for number in range(45):
    app.get(f"/things{number}")(hello)


@app.get("/products/{id}")
async def row(id: uuid.UUID) -> Product:
    """Case row."""
    async with app.state.pool.acquire() as conn:
        found = await conn.fetchrow(ROW + "$1", id)
    if found is None:
        raise HTTPException(404)
    return Product(**found)


async def page_of(status: str, sort: str) -> tuple[list[Any], int]:
    """25 rows and the count of all."""
    async with app.state.pool.acquire() as conn:
        rows = await conn.fetch(f"{PAGE_OF}$1 order by {ORDERS[sort]} limit 25", status)
        return rows, await conn.fetchval(COUNT + "$1", status)


@app.get("/products")
async def rows(status: str = "active", sort: str = "-created_at") -> Page:
    """Case list."""
    found, total = await page_of(status, sort)
    return Page(data=[Product(**item) for item in found], total=total)


@app.post("/products", status_code=201)
async def create(data: New) -> Product:
    """Case create."""
    async with app.state.pool.acquire() as conn, conn.transaction():
        statement = f"{INSERT}($1, $2, $3) returning {COLUMNS}"
        made = await conn.fetchrow(statement, data.name, data.price, data.status)
        await conn.execute(JOB + "$1)", json.dumps({"id": str(made["id"])}))
    return Product(**made)


@app.get("/html", response_class=HTMLResponse)
async def page() -> str:
    """Case html."""
    found, total = await page_of("active", "-created_at")
    return TEMPLATE.render(rows=found, total=total)
