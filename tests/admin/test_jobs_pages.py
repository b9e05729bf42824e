"""The jobs page over HTTP: what it shows, what a form may do, who may ask."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from forge_min import db, jobs
from forge_min.admin.jobs import JobsPages
from forge_min.jobs import control
from forge_min.testing import TestDatabase

from admin_server import new_server

pytestmark = pytest.mark.db
HOSTILE = "<script>alert(1)</script>\" ' & \N{SNOWMAN}"


class Page:
    """An answer, and the forms of its page."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.text = answer.read().decode()

    @property
    def forms(self) -> dict[str, str]:
        """Where each posted form goes → the word that it carries."""
        found = re.findall(
            r'<form method="post" action="([^"]+)"><input [^>]*value="([^"]+)"', self.text
        )
        return {action.replace("&amp;", "&"): csrf for action, csrf in found}


class Desk:
    """An admin server on a database of the test's own."""

    def __init__(self, database: TestDatabase, token: str = "") -> None:
        self.conn = db.connect(database.app_url)
        self._database = db.Database(database.app_url)
        self.pages = JobsPages(self._database, "shop & co", lambda: ["told"], {})
        self.server = new_server(token=token, jobs=lambda: self.pages)
        self.server.start()
        self._cookie = ""

    def ask(self, path: str, form: Mapping[str, str] | None = None, **headers: str) -> Page:
        client = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            sent = {"Cookie": self._cookie, **headers}
            if form is not None:
                sent["Content-Type"] = "application/x-www-form-urlencoded"
            body = None if form is None else urlencode(form)
            client.request("GET" if form is None else "POST", path, body, sent)
            page = Page(client.getresponse())
            if "forge_csrf" in page.headers.get("set-cookie", ""):
                self._cookie = page.headers["set-cookie"].partition(";")[0]
            return page
        finally:
            client.close()

    def close(self) -> None:
        self.server.stop()
        self._database.close()
        self.conn.close()


@pytest.fixture
def desk(fresh_database: TestDatabase) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def start(token: str = "") -> Desk:
        desks.append(Desk(fresh_database, token))
        return desks[-1]

    yield start
    for one in desks:
        one.close()


def fail(conn: db.Connection, id: int, error: str) -> None:
    conn.execute(
        "update forge_job set state = 'retryable', attempt = 1, scheduled_at = now() + '1 h',"
        " errors = jsonb_build_array(jsonb_build_object('error', %s::text, 'trace', %s::text,"
        " 'attempt', 1, 'at', now())) where id = %s",
        [error, error, id],
    )


def test_every_page_shows_what_there_is_and_lets_nothing_become_markup(desk: Any) -> None:
    site = desk()
    id = jobs.insert_tx(
        site.conn, HOSTILE, {"text": HOSTILE}, queue=HOSTILE, tags=[HOSTILE], unique=HOSTILE,
        metadata={"user": HOSTILE, "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"},
    )  # fmt: skip
    fail(site.conn, id, HOSTILE)
    control.pause(site.conn, HOSTILE)
    worker = jobs.Worker(
        lambda: db.connect(site._database.url), {}, queues={HOSTILE: 1}, heartbeat=0.1,
        periodic=[jobs.Periodic(HOSTILE, jobs.Interval(3600), "a")],
    )  # fmt: skip
    worker.start()
    try:
        while not control.job_counts(site.conn):
            site.conn.execute("select pg_sleep(0.05)")
        paths = (
            "/jobs",
            "/jobs/list",
            f"/jobs/list?{urlencode({'queue': HOSTILE})}",
            f"/jobs/{id}",
        )
        for path in paths:
            page = site.ask(path)
            assert page.status == 200, page.text
            assert "<script>alert" not in page.text and "&lt;script&gt;alert(1)" in page.text
            assert "default-src 'self'" in page.headers["content-security-policy"]
            assert "shop &amp; co" in page.text
    finally:
        worker.stop()
    assert "a" * 32 in site.ask(f"/jobs/{id}").text


def test_the_overview_has_depths_plots_and_workers(desk: Any) -> None:
    site = desk()
    site.conn.execute(
        "insert into forge_job_minute values ('mail', date_trunc('minute', now()), 8, 2, 1.0)"
    )
    site.conn.execute(
        "insert into forge_queue (name, counts, counted_at)"
        " values ('mail', jsonb_build_object('available', 12, 'oldest', 7200), now())"
    )
    jobs.insert_tx(site.conn, "nobody")
    text = site.ask("/jobs").text
    assert '<a href="/jobs/list?queue=mail&amp;state=available">12</a>' in text
    assert "2 h" in text and "8 completed and 2 failed in the last hour" in text
    assert text.count("<rect") == 2 and "100.0 ms" in text
    assert "no running worker has: nobody" in text and "No worker is running" in text
    assert "forge_job_fetch" in text


def test_lists_are_filtered_and_go_on(desk: Any) -> None:
    site = desk()
    ids = [jobs.insert_tx(site.conn, f"k{n % 2}") for n in range(60)]
    text = site.ask("/jobs/list").text
    assert f">{ids[-1]}<" in text and f">{ids[9]}<" not in text
    older = re.search(r'href="(/jobs/list\?[^"]*before=\d+)"', text)
    assert older is not None
    text = site.ask(older[1].replace("&amp;", "&")).text
    assert f">{ids[9]}<" in text and f">{ids[10]}<" not in text and "Older jobs" not in text
    text = site.ask("/jobs/list?kind=k1&state=available").text
    assert f">{ids[1]}<" in text and f">{ids[0]}<" not in text
    assert "No matching jobs." in site.ask("/jobs/list?state=discarded").text


@pytest.mark.parametrize(
    ("path", "status"),
    [("/jobs/list?state=asleep", 422), ("/jobs/list?before=x", 400), ("/jobs/0", 404),
     ("/jobs/" + "9" * 5000, 400), ("/jobs/list?queue=%00", 422), ("/jobs/list?tag=%00", 422),
     ("/jobs/x", 400), ("/jobs/99999999999999999999", 400), ("/jobs/1/retry", 405),
     ("/static/admin/jobs.py", 404), ("/static/admin/../jobs.py", 404), ("/events", 404),
     ("/events?topic=other", 404), ("/static/admin/jobs.css", 200), ("/static/forge/live.js", 200)],
)  # fmt: skip
def test_what_is_not_there_is_said_so(desk: Any, path: str, status: int) -> None:
    assert desk().ask(path).status == status


def test_a_person_retries_cancels_discards_pauses_and_resumes(desk: Any) -> None:
    site = desk()
    ids = [jobs.insert_tx(site.conn, kind) for kind in ("a", "b", "told")]
    for id in ids:
        fail(site.conn, id, "no")
    for id, does, state in zip(ids, control.ACTIONS, ("available", "cancelled", "discarded")):
        csrf = site.ask(f"/jobs/{id}").forms[f"/jobs/{id}/{does}"]
        done = site.ask(f"/jobs/{id}/{does}", {"_csrf_token": csrf})
        assert (done.status, done.headers["location"]) == (303, f"/jobs/{id}")
        assert control.show_job(site.conn, id)["state"] == state
    # Whose worker wants to be told of a discarded job is told.
    (notice,) = control.list_jobs(site.conn, kind="told", states=["available"])
    assert notice["metadata"]["discarded"] == ids[2]
    control.limit(site.conn, "default", running=1)
    for does in ("pause", "resume"):
        forms = site.ask("/jobs").forms
        (action,) = forms
        assert does in action
        assert site.ask(action, {"_csrf_token": forms[action]}).status == 303
    (queue,) = control.stats(site.conn)["queues"]
    assert queue["paused_at"] is None and queue["max_running"] == 1


@pytest.mark.parametrize(
    "form", [{}, *({"_csrf_token": token} for token in ("", "x" * 32, "\N{SNOWMAN}"))]
)
def test_a_form_of_another_site_changes_nothing(desk: Any, form: dict[str, str]) -> None:
    site = desk()
    id = jobs.insert_tx(site.conn, "a")
    assert site.ask(f"/jobs/{id}/cancel", form).status == 403
    assert control.show_job(site.conn, id)["state"] == "available"


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:9090", 200), ("localhost", 200), ("[::1]:9090", 200), ("evil.example", 403),
     ("evil.example:9090", 403), ("127.0.0.1.evil.example", 403)],
)  # fmt: skip
def test_without_a_token_only_this_machines_name_is_answered(
    desk: Any, host: str, status: int
) -> None:
    """A site whose name is made to mean 127.0.0.1 must not read the page, or its forms."""
    assert desk().ask("/jobs", Host=host).status == status


def test_with_a_token_a_browser_signs_in_and_gets_a_cookie(desk: Any) -> None:
    site = desk("the secret")
    page = site.ask("/jobs", Host="admin.example")
    assert (page.status, page.headers["location"]) == (303, "/sign-in?next=%2Fjobs")
    assert 'type="password"' in site.ask("/sign-in").text
    assert site.ask("/static/admin/jobs.css").status == 200
    wrong = site.ask("/sign-in", {"token": "guess"})
    assert wrong.status == 403 and "Wrong token" in wrong.text and "set-cookie" not in wrong.headers
    done = site.ask("/sign-in", {"token": "the secret"})
    cookie = done.headers["set-cookie"]
    assert done.status == 303 and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert "secret" not in cookie
    held = cookie.partition(";")[0]
    assert site.ask("/jobs", Cookie=f"a=b; {held}", Host="admin.example").status == 200
    assert site.ask("/metrics", Cookie=held).status == 200
    assert site.ask("/jobs", Authorization="Bearer the secret").status == 200
    for bad in ("forge_admin=", "forge_admin=" + "0" * 64, f"x{held}"):
        assert site.ask("/jobs", Cookie=bad).status == 303
    assert site.ask("/jobs", Authorization="Bearer no", Cookie=held).status == 303


def test_before_the_application_runs_the_page_says_so() -> None:
    server = new_server()
    server.start()
    try:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        client.request("GET", "/jobs")
        assert client.getresponse().status == 503
        client.close()
    finally:
        server.stop()


def test_a_schedule_is_run_now_by_a_button(desk: Any) -> None:
    site = desk()
    report = jobs.Periodic(
        "report", jobs.Interval(3600), "Report", {"month": 3}, options={"queue": "q"}
    )
    other = jobs.Periodic("of another release", jobs.Interval(3600), "Other")
    jobs.register_periodic(site.conn, [report, other])
    site.pages = JobsPages(
        site._database, "shop", list, {"report": partial(jobs.insert_now, each=report)}
    )
    page = site.ask("/jobs")
    ((action, csrf),) = [form for form in page.forms.items() if "schedules" in form[0]]
    before = site.conn.execute("select due_at from forge_periodic order by name").fetchall()
    done = site.ask(action, {"_csrf_token": csrf})
    assert done.status == 303
    ((id, kind, queue, args, metadata),) = site.conn.execute(
        "select id, kind, queue, args, metadata from forge_job"
    ).fetchall()
    assert done.headers["location"] == f"/jobs/{id}"
    assert (kind, queue, args["month"], metadata["periodic"]) == ("Report", "q", 3, "report")
    assert site.conn.execute("select due_at from forge_periodic order by name").fetchall() == before
    assert site.ask(action, {"_csrf_token": "wrong"}).status == 403
    assert site.ask("/jobs/schedules/run?name=other", {"_csrf_token": csrf}).status == 404
