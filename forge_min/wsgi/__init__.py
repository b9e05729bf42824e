"""The web room: our own HTTP server, and an application that runs on any PEP 3333 server.

Loads neither psycopg nor OpenTelemetry, so that a process can bind its port first. `api`, `events`
and `openapi` are imported by path.
"""

from .application import Application
from .html import Raw, check_url, escape, show_time, time_tag
from .message import OnAnswered
from .middleware import check_csrf, csrf_field
from .problem import HTTPProblem, MethodNotAllowed, problem_response
from .request import Request
from .response import Response, html_response, json_response, no_content, redirect, text_response
from .router import Handler, Middleware, Route, Router
from .server import Server, ServerThread, inherited_listener
from .static import StaticFiles

__all__ = [
    "Application", "HTTPProblem", "Handler", "MethodNotAllowed", "Middleware", "OnAnswered", "Raw",
    "Request", "Response", "Route", "Router", "Server", "ServerThread", "StaticFiles",
    "check_csrf", "check_url", "csrf_field", "escape", "html_response", "inherited_listener",
    "json_response", "no_content", "problem_response", "redirect", "show_time", "text_response",
    "time_tag",
]  # fmt: skip
