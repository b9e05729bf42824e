"""Every page says what is wrong, whatever it is, and nothing of that is markup."""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from forge_min.dev.overlay import HERE, Overlay, State, explanation
from forge_min.dev.problems import Problem, problems_of
from forge_min.errors import BuildError, ErrorGroup
from forge_min.mail import OUTBOX, FileTransport, Mailer, Message

BAD = Problem("<script>alert(1)</script>", "a & b\n</pre><img src=x onerror=alert(2)>")
PAGE = "<!doctype html><body><p>\u20ac</p></body></html>".encode()


class Answering:
    """An application with one answer."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = "200 OK", {"Content-Type": "text/html"}, PAGE
        self.environ: dict[str, Any] = {}
        self.fails: Exception | None = None

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        self.environ = environ
        if self.fails is not None:
            logging.getLogger("forge_min.wsgi").error("failed", exc_info=self.fails)
        start(self.status, [*self.headers.items(), ("Content-Length", str(len(self.body)))])
        return [self.body]


@pytest.fixture
def app() -> Answering:
    return Answering()


@pytest.fixture
def overlay(app: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Overlay:
    monkeypatch.setattr(logging.getLogger("forge_min"), "handlers", [])
    return Overlay(app, tmp_path, State(7, 0, 3, [BAD]))


def ask(overlay: Overlay, path: str = "/", **environ: str) -> tuple[str, dict[str, str], bytes]:
    answered: list[Any] = []
    given = {"PATH_INFO": path, "REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO(), **environ}
    body = overlay(given, lambda status, headers, *rest: answered.extend([status, dict(headers)]))
    return answered[0], answered[1], b"".join(body)


def test_a_page_gets_what_is_wrong_at_its_end_and_escaped(overlay: Overlay) -> None:
    _, headers, body = ask(overlay)
    assert body.startswith(PAGE.removesuffix(b"</body></html>"))
    assert body.endswith(b"</body></html>") and body.count(b"</body>") == 1
    assert headers["Content-Length"] == str(len(body))
    assert b"&lt;script&gt;alert(1)" in body and b"<img" not in body and body.count(b"</pre>") == 1
    assert b'data-page="7-0" data-styles="3"' in body
    assert b"style=" not in body and b"<style" not in body and b"onerror=alert" in body


def test_a_page_has_the_number_of_the_process_that_made_it(overlay: Overlay) -> None:
    overlay.update(State(8, 5, 3, []))  # the next one serves by now
    assert b'data-page="7-5"' in ask(overlay)[2]


def test_a_page_of_another_encoding_stays_readable(overlay: Overlay, app: Answering) -> None:
    overlay.update(State(7, 0, 3, [Problem("\u20ac \U0001f600")]))
    app.headers["Content-Type"] = "text/html; charset=latin-1"
    app.body = "<!doctype html><p>\xe4</p>".encode("latin-1")
    _, _, body = ask(overlay)
    assert body.startswith(app.body) and b"&#8364; &#128512;" in body


def test_a_page_is_never_kept_by_a_browser(overlay: Overlay, app: Answering) -> None:
    app.headers |= {"ETag": '"x"', "Cache-Control": "max-age=9", "X-Mine": "1"}
    _, headers, _ = ask(overlay)
    assert headers["Cache-Control"] == "no-store" and "ETag" not in headers
    assert headers["X-Mine"] == "1"


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/css"])
def test_what_is_no_page_stays_as_it_is(overlay: Overlay, app: Answering, kind: str) -> None:
    app.headers = {"Content-Type": kind, "ETag": '"x"'}
    _, headers, body = ask(overlay)
    assert body == PAGE and headers["ETag"] == '"x"'


@pytest.mark.parametrize("page", ["<label>a</label>", "", "<p>the &lt;html&gt; element</p>"])
def test_a_fragment_that_a_script_inserts_is_not_added_to(
    overlay: Overlay, app: Answering, page: str
) -> None:
    app.body = page.encode()
    assert ask(overlay)[2] == app.body


def test_nothing_is_packed_before_it_is_added_to(overlay: Overlay, app: Answering) -> None:
    ask(overlay, HTTP_ACCEPT_ENCODING="gzip")
    assert "HTTP_ACCEPT_ENCODING" not in app.environ


def test_a_request_that_fails_shows_its_own_error_and_no_other_does(
    overlay: Overlay, app: Answering
) -> None:
    app.status, app.fails = "500 Internal Server Error", ValueError("<boom>")
    _, _, body = ask(overlay)
    assert b"ValueError: &lt;boom&gt;" in body
    app.fails = None
    assert b"boom" not in ask(overlay)[2]


def test_its_own_files_are_there_and_no_others(overlay: Overlay) -> None:
    status, headers, body = ask(overlay, f"{HERE}reload.js")
    assert status == "200 OK" and b"/forge-dev/state" in body
    assert headers["Content-Type"].startswith("text/javascript")
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert ask(overlay, f"{HERE}overlay.css")[0] == "200 OK"
    for name in ("", "nothing", "../overlay.py", "..%2foverlay.py"):
        assert ask(overlay, HERE + name)[0] == "404 Not Found"


def test_an_open_page_is_told_the_state_and_of_a_request_that_fails(
    overlay: Overlay, app: Answering
) -> None:
    def state() -> dict[str, str]:
        status, headers, body = ask(overlay, f"{HERE}state")
        assert status == "200 OK" and headers["Cache-Control"] == "no-store"
        return dict(json.loads(body))

    first = state()
    assert (first["page"], first["styles"], first["failed"]) == ("7-0", "3", "")
    assert "&lt;script&gt;alert(1)" in first["html"] and "<script" not in first["html"]
    page = ask(overlay)[2].decode()
    assert f'data-failures="{first["failures"]}"' in page
    app.status, app.fails = "500 Internal Server Error", ValueError("<boom>")
    app.headers["Content-Type"] = "application/json"  # as a script asks for it
    ask(overlay)
    assert state()["failures"] != first["failures"]
    assert "ValueError: &lt;boom&gt;" in state()["failed"] and "boom" not in state()["html"]
    overlay.update(State(8, 5, 4, []))
    assert (state()["page"], state()["styles"], state()["html"]) == ("8-5", "4", "")


@pytest.mark.parametrize(("accept", "kind"), [("text/html", "text/html"), ("*/*", "text/plain")])
def test_without_a_site_the_answer_is_503_for_everybody(
    overlay: Overlay, accept: str, kind: str
) -> None:
    overlay.app = explanation
    status, headers, body = ask(overlay, HTTP_ACCEPT=accept)
    assert status.startswith("503") and headers["Content-Type"].startswith(kind)
    assert (b"alert(1)" in body) == (kind == "text/html")


# -- what is said of an error ----------------------------------------------------------------------


def test_errors_of_ours_are_said_by_code_and_hint_and_all_of_a_group(tmp_path: Path) -> None:
    group = ErrorGroup("two", [BuildError("a", code="F310", hint="b"), BuildError("c")])
    one, two = problems_of(group, tmp_path)
    assert (one.title, one.text) == ("error[F310]: a", "hint: b")
    assert (two.title, two.text) == ("error[F300]: c", "")


def test_a_syntax_error_says_its_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("x = 1\nx = = 2\n")
    with pytest.raises(SyntaxError) as caught:
        compile((tmp_path / "app.py").read_text(), str(tmp_path / "app.py"), "exec")
    (problem,) = problems_of(caught.value, tmp_path)
    assert problem.title == "SyntaxError: invalid syntax"
    assert 'File "app.py", line 2' in problem.text and "^" in problem.text


def test_a_traceback_begins_in_the_project(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def f():\n    return {}['a\\nb']\n")
    names: dict[str, Any] = {}
    exec(compile((tmp_path / "app.py").read_text(), str(tmp_path / "app.py"), "exec"), names)  # noqa: S102
    with pytest.raises(KeyError) as caught:
        json.loads("{}", object_hook=lambda _: names["f"]())
    (problem,) = problems_of(caught.value, tmp_path)
    assert problem.title.startswith("KeyError: ") and "\n" not in problem.title
    assert problem.text.splitlines()[1].strip() == 'File "app.py", line 2, in f'
    assert "json" not in problem.text


def test_messages_are_shown_the_newest_first_and_escaped(overlay: Overlay, tmp_path: Path) -> None:
    assert b"No messages yet." in ask(overlay, "/forge-dev/mail")[2]
    mailer = Mailer(FileTransport(tmp_path / OUTBOX), "Shop <shop@localhost>", "")
    link = "http://localhost:8000/account/reset?key=a-b"
    mailer.send(Message("m1", "anna@example.com", "First <b>", f"<img src=x>\n{link}\n"))
    mailer.send(Message("m2", "anna@example.com", "Second", "text", "<p>text</p>"))
    os.utime(tmp_path / OUTBOX / "m1.eml", (1, 1))
    status, headers, body = ask(overlay, "/forge-dev/mail")
    assert status == "200 OK" and headers["Content-Type"].startswith("text/html")
    text = body.decode()
    assert text.index("Second") < text.index("First &lt;b&gt;") and "<img" not in text
    assert f'<a href="{link}">{link}</a>' in text and "To: anna@example.com" in text
