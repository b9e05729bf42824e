"""The forge side of the HTTP table: the five cases, everything that is on by default left on."""

import time

from forge_min.actions import ListQuery
from forge_min.app import App
from forge_min.wsgi import Handler, Request, Response, json_response

from gen.pages import products as page
from resources.product.actions import ProductActions

app = App()
ACTIVE = {"status": ["active"], "sort": ["-created_at"], "page": ["1"], "per_page": ["25"]}


@app.route("GET", "/hello")
def hello(request: Request) -> Response:
    """Case hello."""
    return json_response({"message": "hello"})


@app.route("GET", "/sleep/{milliseconds}")
def sleep(request: Request) -> Response:
    """Case sleep: a slow handler that leaves the processor to others."""
    time.sleep(int(request.params["milliseconds"]) / 1000)
    return json_response({"message": "awake"})


for number in range(40):
    app.route("GET", f"/things{number}/{{id}}")(hello)


@app.middleware
def tagged(request: Request, handler: Handler) -> Response:
    """A middleware that looks at each request and changes each answer."""
    response = handler(request)
    response.headers.append(("X-Shop", request.header("X-Shop") or "none"))
    return response


@app.page("/html")
def show(request: Request, products: ProductActions) -> str:
    """Case html: a page of 25 rows and the count of all."""
    found = products.list(ListQuery.parse(products.resource, ACTIVE))
    return page.render(rows=found.rows, total=found.total)
