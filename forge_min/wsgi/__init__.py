"""The HTTP server, and a web framework for any PEP 3333 server. It knows no resource.

Loads neither psycopg nor OpenTelemetry, so that a process can bind its port first.
"""

from ..fanout import escape
from .application import Application
from .contract import ERROR, SECURITY_HEADERS, OnServerResponse, environ_key
from .markup import (
    Raw,
    check_root,
    check_url,
    hidden_inputs,
    join,
    local_time,
    raw,
    set_default_zone,
    show_date,
    show_time,
    tag,
    time_tag,
    user_zone,
    void,
)
from .middleware.cookies import (
    DEVICE_COOKIE,
    SESSION_COOKIE,
    cookie,
    cookies_of,
    flash,
    lacks_https,
    without_flash,
)
from .middleware.cors import CORS
from .middleware.csrf import (
    CSRF,
    check_csrf,
    csrf_field,
    entries_of,
    flashed,
    https_message,
    sent_form,
    sign_form,
    with_csrf_cookie,
)
from .middleware.identify import (
    Identify,
    Method,
    bearer,
    root_of_tenant,
    tenant_by_header,
    tenant_by_path,
    tenant_by_subdomain,
    tenant_in_path,
)
from .middleware.limits import ConcurrencyLimit, RateLimiter, RateLimits, client_network
from .middleware.negotiation import Compress, json_only, preferred
from .problem import HTTPProblem, MethodNotAllowed, error_response, problem_response, status_of
from .request import Request, first
from .response import (
    Headers,
    Response,
    html_response,
    json_response,
    local_path,
    no_content,
    redirect,
    text_response,
    to_json,
)
from .router import Handler, Middleware, Route, Router
from .server import Server, ServerThread, inherited_listener
from .static import StaticFiles, content_type

__all__ = [
    "Application", "CORS", "CSRF", "Compress", "ConcurrencyLimit", "DEVICE_COOKIE", "ERROR",
    "HTTPProblem", "Handler", "Headers", "Identify", "Method", "MethodNotAllowed", "Middleware",
    "OnServerResponse", "RateLimiter", "RateLimits", "Raw", "Request", "Response", "Route",
    "Router", "SECURITY_HEADERS", "SESSION_COOKIE", "Server", "ServerThread", "StaticFiles",
    "bearer", "check_csrf", "check_root", "check_url", "client_network", "content_type", "cookie",
    "cookies_of", "csrf_field", "entries_of", "environ_key", "error_response", "escape", "first",
    "flash", "flashed", "hidden_inputs", "html_response", "https_message", "inherited_listener",
    "join", "json_only", "json_response", "lacks_https", "local_path", "local_time", "no_content",
    "preferred", "problem_response", "raw", "redirect", "root_of_tenant", "sent_form",
    "set_default_zone", "show_date", "show_time", "sign_form", "status_of", "tag",
    "tenant_by_header", "tenant_by_path", "tenant_by_subdomain", "tenant_in_path", "text_response",
    "time_tag", "to_json", "user_zone", "void", "with_csrf_cookie", "without_flash",
]  # fmt: skip
