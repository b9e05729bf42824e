"""ward: what is not generated, with every name that later versions renamed."""

from forge_min.actions import ListQuery
from forge_min import observe
from forge_min.app import App
from forge_min.auth import Identity
from forge_min.text import text
from forge_min.wsgi import Raw, Request
from forge_min.wsgi.html import escape
from gen.item import ItemRow
from gen.pages import home, item
from resources.item.actions import ItemActions

app = App()
app.sign_in()


@app.identifies
def by_header(request: Request) -> Identity | None:
    """The identity that a test names."""
    user = request.header("X-User")
    return None if user is None else Identity(user, frozenset({"admin"}))


@app.renews
def renew(identity: Identity) -> Identity | None:
    """Nobody is ever revoked here."""
    return identity


@app.sends_reset
def send_reset(user: object, path: str) -> None:
    """No mail is sent."""


@app.page("/")
def show_home(request: Request, items: ItemActions) -> str:
    """The newest items; the page changes when one of them does."""
    rows = items.list(ListQuery.parse(items.resource, request.query)).rows
    return home.render(items=Raw("".join(map(show_item, rows))))


@app.page("/hello")
def hello(request: Request) -> str:
    """A page without a template."""
    observe.note(page="hello")
    return f"<p>{escape(text('yes'))}</p>"


@app.fragment("items")
def show_item(row: ItemRow) -> str:
    """One line of the page."""
    return item.render(item=row, state="done" if row.done else "open")
