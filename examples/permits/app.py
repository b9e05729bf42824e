"""Permits: applications of citizens, decided by two people, in the offices of a ministry."""

from forge_min.app import App
from forge_min.wsgi import Request, Response, redirect

app = App()
app.sign_in()
app.manual("clerk", "officer")


@app.route("GET", "/")
def home(request: Request) -> Response:
    """The list of applications is the home page."""
    return redirect(f"{request.root}/applications")
