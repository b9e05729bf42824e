"""The forge side of the case hello: 50 routes, a middleware, metrics, limits and the access log on.

python benchmarks/http/helloapp.py PORT
"""

from __future__ import annotations

import signal
import sys
import threading

from forge_min.observe import AccessLog, MetricRegistry
from forge_min.wsgi import Application, Handler, Request, Response, Router, Server, json_response

BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


def hello(request: Request) -> Response:
    """Encoded anew for every request."""
    return json_response({"message": "hello"})


def row(request: Request) -> Response:
    """What a parameter gives."""
    return json_response({"id": request.params["id"]})


def tagged(request: Request, handler: Handler) -> Response:
    """A middleware that looks at the request and changes the answer."""
    response = handler(request)
    if request.header("Accept-Language") is None:
        response.headers.append(("Vary", "Accept-Language"))
    return response


def application(access: AccessLog) -> Application:
    """Fifty routes and everything that the product has on by default."""
    router = Router()
    router.add("GET", "/hello", hello)
    for number in range(24):
        router.add("GET", f"/things{number}", hello)
        router.add("GET", f"/things{number}/{{id}}", row)
    router.add("POST", "/hello", hello)
    durations = MetricRegistry().histogram(
        "forge_http_request_duration_seconds", "Seconds.", ("method", "route", "status"), BOUNDS
    )

    def observe(method: str, route: str, status: int, seconds: float) -> None:
        durations.labels(method, route, str(status)).observe(seconds)

    return Application(router, middleware=[tagged], observe=observe, access=access)


def main() -> None:
    """Serve until SIGTERM."""
    # What the product logs with; the lines go to where stderr goes.
    access = AccessLog(format="json")
    server = Server(("127.0.0.1", int(sys.argv[1])), application(access), threads=8)
    access.lines.start()
    server.start()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    server.stop()
    access.lines.stop()


if __name__ == "__main__":
    main()
