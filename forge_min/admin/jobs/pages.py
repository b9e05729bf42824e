"""The routes of the jobs page. All clients of the admin server may use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ... import db
from ...data import files
from ...errors import BadRequest
from ...jobs import control
from ...wsgi import (
    Request,
    Response,
    Router,
    StaticFiles,
    check_csrf,
    csrf_field,
    html_response,
    redirect,
)
from . import view

LIMIT = 50  # jobs on a page
FILTERS = ("state", "queue", "kind", "tag")


class JobsPages:
    """The handler of /jobs and the pages below it, inside the middleware CSRF.

    database: connections of the admin threads alone. project: the site's name. told: kinds whose
    worker wants to be told of a discarded job.
    """

    def __init__(
        self, database: db.Database, project: str, told: Callable[[], Sequence[str]]
    ) -> None:
        self._database, self._project, self._told = database, project, told
        self._router = router = Router()
        router.add("GET", "/static/jobs/{path...}", StaticFiles(files(__package__) / "assets"))
        router.add("GET", "/jobs", self._overview)
        router.add("GET", "/jobs/list", self._list)
        router.add("GET", "/jobs/{id}", self._detail)
        for does in control.DOES:
            router.add("POST", f"/jobs/{{id}}/{does}", partial(self._change, does))
        for does in ("pause", "resume"):
            router.add("POST", f"/jobs/queues/{does}", partial(self._queue, does))

    def __call__(self, request: Request) -> Response:
        """Answer one request. Raises as `Router.match`, and HTTPProblem for another site's form."""
        handler, request.params, _ = self._router.match(request.method, request.path)
        if request.method == "POST":
            check_csrf(request)
        return handler(request)

    # -- pages ------------------------------------------------------------------------------------

    def _overview(self, request: Request) -> Response:
        conn, csrf = self._database.connection(), csrf_field(request)
        content = view.overview(control.stats(conn), control.minutes(conn), time.time(), csrf)
        return self._page("Queues", content)

    def _list(self, request: Request) -> Response:
        asked = {n: request.query[n][-1] for n in FILTERS if request.query.get(n, [""])[-1]}
        before = request.query.get("before", [""])[-1]
        filters: dict[str, Any] = {n: asked.get(n) for n in ("queue", "kind", "tag")}
        found = control.list_jobs(
            self._database.connection(),
            states=[asked["state"]] if "state" in asked else None,
            before=_number(before) if before else None,
            limit=LIMIT,
            **filters,
        )
        return self._page("Jobs", view.listing(found, asked, LIMIT))

    def _detail(self, request: Request) -> Response:
        id = _number(request.params["id"])
        job = control.show_job(self._database.connection(), id)
        return self._page(f"Job {id}", view.detail(job, csrf_field(request)))

    def _page(self, title: str, content: str) -> Response:
        return html_response(view.page(self._project, title, content))

    # -- what a person does -----------------------------------------------------------------------

    def _change(self, does: str, request: Request) -> Response:
        id = _number(request.params["id"])
        told = self._told() if does == "discard" else ()
        control.change_jobs(self._database.connection(), does, [id], told)
        return redirect(f"/jobs/{id}")

    def _queue(self, does: str, request: Request) -> Response:
        name = request.query.get("queue", [""])[-1]
        change = {"pause": control.pause, "resume": control.resume}[does]
        change(self._database.connection(), name)
        return redirect("/jobs")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BadRequest("a job's number is digits")
    return int(text)
