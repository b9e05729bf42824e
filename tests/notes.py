"""Notes and their labels, written by hand as gen/ would write them, with the pages of both:
for tests of forms. A schema has versions, and whoever asks may have other roles at each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from importlib.resources import files
from io import BytesIO
from typing import Any
from wsgiref.util import setup_testing_defaults

from forge_min import db
from forge_min.actions import Actions, Check, Column, Registry, Relation
from forge_min.auth import SYSTEM, Identity, as_identity
from forge_min.html import Brand, Layout, ProblemPages, ResourcePages
from forge_min.testing import TestDatabase
from forge_min.wsgi import CSRF, Application, Router, StaticFiles

from person import Page, Person
from workshop import ID, VERSION, resource

TABLES = """
create table notes (
  id uuid constraint notes_pkey primary key, title varchar(40) not null, body text,
  flag boolean not null, price numeric(10, 2), meta jsonb, due timestamptz, secret text,
  kind text, extra text, label_id varchar(20), version bigint not null default 1,
  deleted_at timestamptz);
create table labels (
  slug varchar(20) constraint labels_pkey primary key, version bigint not null default 1);
create table notes_labels (
  note_id uuid not null, label_slug varchar(20) not null,
  constraint notes_labels_pkey primary key (note_id, label_slug),
  constraint notes_labels_note_id_fkey foreign key (note_id) references notes (id)
    on delete cascade,
  constraint notes_labels_label_slug_fkey foreign key (label_slug) references labels (slug)
    on delete cascade);
alter table notes add constraint notes_label_id_fkey foreign key (label_id) references labels;
"""

EDITOR = ("editor",)
KINDS = ("letter", "memo")
FIELDS: dict[str, tuple[Column, Callable[[Check], None]]] = {
    "title": (
        Column("title", "string", nullable=False),
        lambda c: c.string("title", required=True, max_len=40),
    ),
    "body": (Column("body", "text"), lambda c: c.text("body")),
    "flag": (Column("flag", "bool", nullable=False), lambda c: c.bool("flag", required=True)),
    "price": (Column("price", "decimal"), lambda c: c.decimal("price", precision=(10, 2))),
    "meta": (Column("meta", "json"), lambda c: c.json("meta")),
    "due": (Column("due", "datetime"), lambda c: c.datetime("due")),
    "secret": (
        Column("secret", "text", visible_to=EDITOR, writable_by=EDITOR),
        lambda c: c.text("secret"),
    ),
    "kind": (Column("kind", "enum", choices=KINDS), lambda c: c.enum("kind", KINDS)),
    "extra": (Column("extra", "string"), lambda c: c.string("extra")),
    "label_id": (Column("label_id", "slug"), lambda c: c.slug("label_id", max_len=20)),
}
LINKS = "label_slugs"
SCHEMAS = {
    "all": {*FIELDS, LINKS},
    "without": {"title", "body", "flag", "due", "secret", LINKS},
    "unlinked": {*FIELDS},
}


def notes(names: set[str]) -> Any:
    """The resource with some of its fields; the others stay in the table."""
    kept = [FIELDS[name] for name in FIELDS if name in names]
    linked = LINKS in names

    def check(c: Check) -> None:
        for _, read in kept:
            read(c)
        if linked:
            c.many(LINKS, "slug")
        c.unknown()

    links = [
        Relation(
            "labels", "many_to_many", "labels", "note_id", "notes_labels", "label_slug", LINKS,
            "slug",
        )
    ] * linked  # fmt: skip
    if "label_id" in names:
        links.append(Relation("label", "belongs_to", "labels", "label_id"))
    return resource(
        "Note",
        "notes",
        (ID, *(column for column, _ in kept), VERSION, Column("deleted_at", "datetime")),
        check,
        soft_delete=True,
        auditable=True,
        relations=tuple(links),
    )


def check_label(c: Check) -> None:
    c.slug("slug", required=True, max_len=20)
    c.many("note_ids", "uuid")
    c.unknown()


LABELS = resource(
    "Label",
    "labels",
    (Column("slug", "slug", nullable=False, unique=True, immutable=True), VERSION),
    check_label,
    relations=(
        Relation(
            "notes", "many_to_many", "notes", "label_slug", "notes_labels", "note_id", "note_ids"
        ),
    ),
)


class Notebook:
    """The pages of each version of the schema, over one database."""

    def __init__(self, database: TestDatabase) -> None:
        self.owner = db.connect(database.owner_url)
        self.owner.execute(TABLES)
        self.database = db.Database(database.app_url)
        self.actions: dict[str, Any] = {}
        self.apps: dict[str, Application] = {}
        self.person = SYSTEM  # whoever asks now
        for version, names in SCHEMAS.items():
            self._add(version, notes(names))

    def _add(self, version: str, of_notes: Any) -> None:
        registry = Registry(self.database, {}, secret=b"of a notebook")
        for each in (of_notes, LABELS):
            registry.add(type(each.name + "Actions", (Actions,), {"resource": each}))
        router, layout = Router(), Layout(Brand("notebook"))
        ours = StaticFiles(files("forge_min.html") / "assets")
        router.add("GET", "/static/forge/{path...}", ours)
        places = {topic: f"/{topic}" for topic in registry.actions}
        for topic, path in places.items():
            actions = registry.actions[topic]
            layout.resources[path] = actions
            for route in ResourcePages(actions, path, layout, places, {}).routes():
                router.add(route.method, route.pattern, route.handler)
        self.actions[version] = registry.actions

        def identify(request: Any, handler: Any) -> Any:
            with as_identity(self.person):
                return handler(request)

        around = [identify, CSRF(b"secret", secure=False)]
        pages = ProblemPages(layout, "/api")
        self.apps[version] = Application(router, middleware=around, problem_page=pages)

    def note(self, **values: Any) -> str:
        """A new note; the path of its page."""
        given = {"title": "A note", "flag": True} | values
        with as_identity(SYSTEM):
            return f"/notes/{self.actions['all']['notes'].create(given).id}"

    def change(self, note: str, **values: Any) -> None:
        """Change a note as another user does."""
        with as_identity(SYSTEM):
            self.actions["all"]["notes"].update(_key(note), values)

    def delete(self, note: str, *, restore: bool = False) -> None:
        """Delete a note as another user does, and bring it back."""
        with as_identity(SYSTEM):
            self.actions["all"]["notes"].delete(_key(note))
            if restore:
                self.actions["all"]["notes"].restore(_key(note))

    def link(self, note: str, *slugs: str, gone: bool = False) -> None:
        """Link a note to labels, or cut it off them, from the other side."""
        query = "insert into notes_labels values (%s, %s) on conflict do nothing"
        if gone:
            query = "delete from notes_labels where note_id = %s and label_slug = %s"
        for slug in slugs:
            self.owner.execute(query, (_key(note), slug))

    def labels(self, *slugs: str) -> None:
        """New labels."""
        with as_identity(SYSTEM):
            for slug in slugs:
                self.actions["all"]["labels"].create({"slug": slug})

    def row(self, note: str) -> dict[str, Any]:
        """What the tables have of a note: its columns, and the labels under LINKS."""
        names = ", ".join(FIELDS)
        query = f"select {names} from notes where id = %s"
        values = self.owner.execute(query, (_key(note),)).fetchone()
        query = "select label_slug from notes_labels where note_id = %s order by 1"
        linked = [slug for (slug,) in self.owner.execute(query, (_key(note),))]
        return dict(zip(FIELDS, values or (), strict=True)) | {LINKS: linked}

    def close(self) -> None:
        """Close every connection."""
        self.database.close()
        self.owner.close()


def _key(note: str) -> str:
    return note.rpartition("/")[2]


class Visitor(Person):
    """A person whose browser asks the application itself, without a server."""

    def __init__(self, notebook: Notebook, user: str = "ann", *roles: str) -> None:
        super().__init__(0)
        self.notebook, self.schema = notebook, "all"
        self.identity = Identity(user, frozenset(roles))

    def edit(self, note: str) -> Page:
        """Open the form of a note."""
        page = self.get(note + "/edit")
        assert page.status == 200, page.text
        return page

    def ask(
        self, method: str, path: str, body: bytes | None, *, follow: bool = True, **headers: str
    ) -> Page:
        """One request; redirects are not followed."""
        route, _, query = path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method, "PATH_INFO": route, "QUERY_STRING": query,
            "HTTP_ACCEPT": "text/html", "CONTENT_LENGTH": str(len(body or b"")),
            "CONTENT_TYPE": "application/x-www-form-urlencoded", "wsgi.input": BytesIO(body or b""),
            "HTTP_COOKIE": "; ".join(f"{k}={v}" for k, v in self.cookies.items()),
        }  # fmt: skip
        setup_testing_defaults(environ)
        found: list[Any] = []
        self.notebook.person = self.identity
        answer = self.notebook.apps[self.schema](environ, lambda *given: found.append(given[:2]))
        data = b"".join(answer)
        message = Message()
        for name, value in found[-1][1]:
            message[name] = value
        self.page, self.at = Page(int(found[-1][0].split()[0]), message, data), path
        self._keep(self.page)
        return self.page


@contextmanager
def notebook(database: TestDatabase) -> Iterator[Notebook]:
    """An empty notebook on this database."""
    made = Notebook(database)
    try:
        yield made
    finally:
        made.close()
