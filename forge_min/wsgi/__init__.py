"""The HTTP server, and a web framework for any PEP 3333 server. It knows no resource.

Loads neither psycopg nor OpenTelemetry, so that a process can bind its port first.
"""

from .application import Application
from .contract import SECURITY_HEADERS, OnAnswered, environ_key
from .markup import (
    Raw,
    check_root,
    check_url,
    escape,
    join,
    local_time,
    raw,
    show_time,
    tag,
    time_tag,
    void,
)
from .middleware import (
    CORS,
    CSRF,
    Compress,
    ConcurrencyLimit,
    Identify,
    Method,
    RateLimits,
    bearer,
    check_csrf,
    csrf_field,
    json_only,
    no_tenant,
    tenant_by_header,
    tenant_by_path,
    tenant_by_subdomain,
    tenant_in_path,
)
from .middleware.accept import preferred, prefers_html
from .middleware.cookies import DEVICE_COOKIE, SESSION_COOKIE, cookie, cookies_of, lacks_https
from .middleware.csrf import https_message, sent_form, sign_form
from .middleware.limits import RateLimiter, network
from .problem import HTTPProblem, MethodNotAllowed, failed, problem_response, status_of
from .request import Request, first
from .response import (
    Headers,
    Response,
    html_response,
    json_response,
    no_content,
    redirect,
    text_response,
    to_json,
)
from .router import Handler, Middleware, Route, Router
from .server import Server, ServerThread, inherited_listener
from .static import StaticFiles, content_type

__all__ = [
    "Application", "CORS", "CSRF", "Compress", "ConcurrencyLimit", "DEVICE_COOKIE", "HTTPProblem",
    "Handler", "Headers", "Identify", "Method", "MethodNotAllowed", "Middleware", "OnAnswered",
    "RateLimiter", "RateLimits", "Raw", "Request", "Response", "Route", "Router",
    "SECURITY_HEADERS", "SESSION_COOKIE", "Server", "ServerThread", "StaticFiles", "bearer",
    "check_csrf", "check_root", "check_url", "content_type", "cookie", "cookies_of", "csrf_field",
    "environ_key", "escape", "failed", "first", "html_response", "https_message",
    "inherited_listener", "join", "json_only", "json_response", "lacks_https", "local_time",
    "network", "no_content", "no_tenant", "preferred", "prefers_html", "problem_response", "raw",
    "redirect", "sent_form", "show_time", "sign_form", "status_of", "tag", "tenant_by_header",
    "tenant_by_path", "tenant_by_subdomain", "tenant_in_path", "text_response", "time_tag",
    "to_json", "void",
]  # fmt: skip
