"""The routes of the jobs page as an application of their own, and its live stream.

Whoever may ask the admin server may use it. A form carries a word that only our own pages know, and
a name that is not this machine's is refused, so that no other site can use a visitor's browser for
it.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any

from ... import db, fanout, sse
from ...data import files
from ...errors import BadRequest, Forbidden
from ...jobs import control
from ...notify import Event, MemoryHub
from ...notify.link import Loop
from ...wsgi import Application, Request, Response, Router, StaticFiles, html_response
from ...wsgi.events import events_handler
from ...wsgi.response import redirect
from ..access import host_name
from . import view

TOPIC = "jobs"
LOOK = 2.0  # seconds between looks for what changed, while somebody watches
LIMIT = 50  # jobs on a page
FILTERS = ("state", "queue", "kind", "tag")


class JobsPages:
    """/jobs and what belongs to it. Call it as a WSGI application; `stop` ends its streams.

    database: connections of the admin threads alone. project: the site's name. told: kinds whose
    worker wants to be told of a discarded job. local: only a browser that asks for this machine by
    its own name is answered, because no token protects it.
    """

    def __init__(
        self, database: db.Database, project: str, told: Callable[[], Sequence[str]], *, local: bool
    ) -> None:
        self._database, self._project, self._told = database, project, told
        self._local = local
        self._csrf = secrets.token_urlsafe(24)
        self._hub = MemoryHub(sse.encode_json)
        self._writer = fanout.StreamWriter()
        self._limiter = fanout.Limiter(max_total=100, max_per_user=100)
        self._watch = Loop("admin-jobs", self._look, database.open)
        self._starting = threading.Lock()  # LOCK: the first stream starts what streams need
        self._started = False
        self._seen = ""
        router = Router()
        events = events_handler(self._hub, self._limiter, self._writer, topics={TOPIC})
        router.add("GET", "/events", partial(self._stream, events))
        ours = StaticFiles(files("forge_min.wsgi") / "assets")
        router.add("GET", "/static/forge/{path...}", ours)
        router.add("GET", "/static/jobs/{path...}", StaticFiles(files(__package__) / "assets"))
        router.add("GET", "/jobs", self._overview)
        router.add("GET", "/jobs/list", self._list)
        router.add("GET", "/jobs/{id}", self._detail)
        for does in control.DOES:
            router.add("POST", f"/jobs/{{id}}/{does}", partial(self._change, does))
        for does in ("pause", "resume"):
            router.add("POST", f"/jobs/queues/{does}", partial(self._queue, does))
        self._application = Application(router, middleware=[self._guard], max_body=10_000)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer one request (PEP 3333)."""
        return self._application(environ, start_response)

    def stop(self) -> None:
        """Close every stream. Idempotent."""
        with self._starting:
            started, self._started = self._started, False
        if started:
            self._watch.stop()
            self._writer.stop(2.0, sse.close_frame("shutdown"))
            self._hub.stop()

    # -- who asks ---------------------------------------------------------------------------------

    def _guard(self, request: Request, handler: Callable[[Request], Response]) -> Response:
        if self._local and not _is_this_machine(request.header("Host") or ""):
            raise Forbidden("ask for this machine by 127.0.0.1 or localhost")
        if request.method == "POST":
            given = request.form().get("csrf", [""])[-1]
            if not hmac.compare_digest(given.encode(), self._csrf.encode()):
                raise Forbidden(
                    "this form is not of this page, or of an earlier start: load it again"
                )
        return handler(request)

    # -- pages ------------------------------------------------------------------------------------

    def _overview(self, request: Request) -> Response:
        conn = self._database.connection()
        content = view.overview(control.stats(conn), control.minutes(conn), time.time(), self._csrf)
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
        return self._page(f"Job {id}", view.detail(job, self._csrf))

    def _page(self, title: str, content: str) -> Response:
        return html_response(view.page(self._project, title, content))

    # -- what a person does -----------------------------------------------------------------------

    def _change(self, does: str, request: Request) -> Response:
        id = _number(request.params["id"])
        told = self._told() if does == "discard" else ()
        control.change_jobs(self._database.connection(), does, [id], told)
        self._tell()
        return redirect(f"/jobs/{id}")

    def _queue(self, does: str, request: Request) -> Response:
        name = request.query.get("queue", [""])[-1]
        change = {"pause": control.pause, "resume": control.resume}[does]
        change(self._database.connection(), name)
        self._tell()
        return redirect("/jobs")

    # -- the stream -------------------------------------------------------------------------------

    def _stream(self, events: Callable[[Request], Response], request: Request) -> Response:
        with self._starting:
            if not self._started:
                self._started = True
                self._hub.start()
                self._writer.start()
                self._watch.start()
        self._watch.wake.set()
        return events(request)

    def _look(self) -> None:
        """Tell the pages when the figures have changed. Without pages nothing is asked."""
        self._watch.rest(LOOK if self._limiter.active else None)
        if self._watch.stopping.is_set() or not self._limiter.active:
            return
        seen = str(db.run(self._watch.connection(), control.SQL["changed"]))
        if seen != self._seen:
            self._seen = seen
            self._tell()

    def _tell(self) -> None:
        if self._started:
            self._hub.publish(Event(TOPIC, "jobs.changed"))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BadRequest("a job's number is digits")
    return int(text)


def _is_this_machine(host: str) -> bool:
    name = host_name(host)
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
