"""Somebody with a browser that runs no scripts: follows links, fills in forms, keeps cookies."""

from __future__ import annotations

import http.client
import json
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

Pairs = list[tuple[str, str]]
VOID = {"input", "meta", "link", "br", "hr", "img"}


class Form:
    """One form as it stands in a page. buttons: text → (name, value)."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self.action = attributes.get("action", "")
        self.method = attributes.get("method", "get")
        self.fields: Pairs = []
        self.markers: Pairs = []  # hidden and empty: sent with check boxes, on or off
        self.choices: dict[str, list[tuple[str, str]]] = {}  # name → (value, label)
        self.buttons: dict[str, tuple[str, str]] = {}

    def filled(self, values: dict[str, Any]) -> Pairs:
        """The pairs that are sent: what stands there, but these. None takes a field away."""
        kept = [(name, value) for name, value in self.fields if name not in values]
        kept += self.markers
        for name, value in values.items():
            given = value if isinstance(value, list) else [value]
            kept += [(name, str(one)) for one in given if one is not None]
        return kept


class Page(HTMLParser):
    """One answer, read."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.status, self.headers, self.body = status, headers, body
        self.links: dict[str, str] = {}  # text → href
        self.forms: list[Form] = []
        self.text = ""
        self._stack: list[tuple[str, dict[str, str]]] = []
        self._said: dict[str, str] = {}
        self._select = self._option = self._radio = ""
        self._form: Form | None = None
        if "html" in (headers.get("Content-Type") or ""):
            self.feed(body.decode())

    @property
    def form(self) -> Form:
        """The form that writes: the last one of the page with method post."""
        return [form for form in self.forms if form.method == "post"][-1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        a = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self._stack.append((tag, a))
            self._said[tag] = ""
        if tag == "form":
            self._form = Form(a)
            self.forms.append(self._form)
        if self._form is None or "disabled" in a:
            return
        name, kind = a.get("name", ""), a.get("type", "text")
        if tag == "input" and kind in ("radio", "checkbox"):
            self._radio = name
            self._form.choices.setdefault(name, []).append((a.get("value", "on"), ""))
            if "checked" in a:
                self._form.fields.append((name, a.get("value", "on")))
        elif tag == "input" and kind == "hidden" and not a.get("value"):
            self._form.markers.append((name, ""))
        elif tag == "input" and name:
            self._form.fields.append((name, a.get("value", "")))
        elif tag == "select":
            self._select = name
            self._form.fields.append((name, ""))
            self._first = True
        elif tag == "option":
            value = a.get("value", "")
            self._form.choices.setdefault(self._select, []).append((value, ""))
            if "selected" in a or self._first:
                self._form.fields[-1] = (self._select, value)
            self._first = False

    def handle_endtag(self, tag: str) -> None:
        while self._stack and (top := self._stack.pop())[0] != tag:
            pass
        said, a = " ".join(self._said.get(tag, "").split()), top[1]
        if tag == "a":
            self.links[said] = a.get("href", "")
        elif tag == "form":
            self._form = None
        elif self._form is not None and tag == "textarea":
            text = self._said[tag]
            self._form.fields.append((a["name"], text.removeprefix("\n")))
        elif self._form is not None and tag == "button":
            self._form.buttons[said] = (a.get("name", ""), a.get("value", ""))
        elif self._form is not None and tag == "option":
            value, _ = self._form.choices[self._select][-1]
            self._form.choices[self._select][-1] = (value, said)
        elif self._form is not None and tag == "label" and self._form.choices.get(self._radio):
            value, label = self._form.choices[self._radio][-1]
            self._form.choices[self._radio][-1] = (value, label or said)

    def handle_data(self, data: str) -> None:
        self.text += data
        for tag, _ in self._stack:
            self._said[tag] = self._said.get(tag, "") + data


class Person:
    """One browser. at: the path of the page that is shown."""

    def __init__(self, port: int, **headers: str) -> None:
        self._port = port
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.cookies: dict[str, str] = {}
        self.at = "/"
        self.page: Page

    def get(self, path: str, *, follow: bool = True) -> Page:
        """Open a page."""
        return self.ask("GET", path, None, follow=follow)

    def click(self, text: str) -> Page:
        """Follow the link of this text."""
        return self.get(urljoin(self.at, self.page.links[text]))

    def send(
        self, values: dict[str, Any] | None = None, button: str = "", form: Form | None = None
    ) -> Page:
        """Send the page's form with these values, by a button that has a name of its own."""
        form = form or self.page.form
        pairs = form.filled(values or {})
        if button:
            pairs.append(form.buttons[button])
        place = urljoin(self.at, form.action)
        if form.method == "post":
            return self.ask("POST", place, urlencode(pairs).encode())
        return self.get(f"{place.partition('?')[0]}?{urlencode(pairs)}")

    def ask(
        self, method: str, path: str, body: bytes | None, *, follow: bool = True, **headers: str
    ) -> Page:
        """One request, and where its answer leads to."""
        conn = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        sent = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", **self._headers}
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            sent["Origin"] = f"http://127.0.0.1:{self._port}"
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            conn.request(method, path, body, sent)
            answer = conn.getresponse()
            page = Page(answer.status, answer.headers, answer.read())
        finally:
            conn.close()
        self._keep(page)
        self.page, self.at = page, path
        if follow and page.status in (302, 303):
            to = urlsplit(urljoin(path, page.headers["Location"]))
            return self.get(to.path + (f"?{to.query}" if to.query else ""))
        return page

    def _keep(self, page: Page) -> None:
        for line in page.headers.get_all("Set-Cookie") or []:
            name, _, value = line.partition(";")[0].partition("=")
            if "Max-Age=0" in line:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value

    def json(self) -> Any:
        """The answer as JSON."""
        return json.loads(self.page.body)
