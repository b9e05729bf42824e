"""Notes: the smallest application. `make notes` at the top of the repository serves it."""

from forge_min.app import App
from forge_min.wsgi import Request, Response, redirect

app = App()


@app.route("GET", "/")
def home(request: Request) -> Response:
    """The list of notes is the home page."""
    return redirect("/notes")
