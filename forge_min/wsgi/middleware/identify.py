"""Authentication: methods that are tried in order, and the tenant that a request names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...auth import Identity, as_identity
from ...errors import Forbidden, Unauthenticated
from ...observe import add_log_fields
from ..request import Request
from ..response import Response
from ..router import Handler

Method = Callable[[Request], Identity | None]
"""Returns the identity of a request, None without credentials for this method.

Raises Unauthenticated for invalid credentials.
"""

TENANTS = "t"
"""The segment of a path before the tenant."""
_TENANT = "forge.tenant"


class Identify:
    """Middleware that authenticates requests.

    methods: tried in order; without an identity the request is anonymous.
    on_failure: called for each request with invalid credentials or a forbidden tenant; may raise.
    varies: headers in which a request names its tenant.
    """

    def __init__(
        self,
        methods: Sequence[Method],
        on_failure: Callable[[Request], object],
        varies: Sequence[str] = (),
    ) -> None:
        self._methods = methods
        self._on_failure = on_failure
        self._varies = varies

    def __call__(self, request: Request, handler: Handler) -> Response:
        """Call the handler with the identity of the request. Raises as the methods."""
        try:
            identity = None
            for method in self._methods:
                identity = method(request)
                if identity is not None:
                    break
        except (Unauthenticated, Forbidden):
            self._on_failure(request)
            raise
        if identity is None:
            return handler(request)
        request.identity = identity
        add_log_fields(user_id=identity.user)
        # Rows of two tenants at one URL may have the same ETag, so a cache must distinguish them
        # (RFC 9110 section 12.5.5). An API key may belong to one tenant.
        varies = self._varies
        if identity.tenant is not None:
            add_log_fields(tenant_id=str(identity.tenant))
            varies = [*varies, "Authorization"]
        with as_identity(identity):
            response = handler(request)
        return _private(response, ", ".join(varies))


def _private(response: Response, varies: str) -> Response:
    """Make the response private to its user, unless the handler has set a Cache-Control.

    RFC 9111 section 3.5 does that for requests with Authorization, but not with a cookie.
    """
    headers = []
    if response.header("Cache-Control") is None:
        headers.append(("Cache-Control", "private"))
    if varies:
        headers.append(("Vary", varies))
    return response.with_headers(headers)


def bearer(request: Request) -> str | None:
    """Return the token of "Authorization: Bearer" (RFC 6750 section 2.1)."""
    sent: str | None = request.environ.get("HTTP_AUTHORIZATION")
    if sent is None:  # PERF: most requests of browsers (benchmarks/http, hello)
        return None
    scheme, _, token = sent.partition(" ")
    if scheme.lower() != "bearer":
        return None
    return token.strip()


def tenant_by_header(name: str) -> Callable[[Request], str | None]:
    """Return a function that reads the tenant, a slug or id, from a header."""

    def tenant(request: Request) -> str | None:
        value = request.header(name) or ""
        return value.strip() or None

    return tenant


def tenant_by_subdomain(domain: str = "") -> Callable[[Request], str | None]:
    """Return a function that reads the tenant from the label before the domain.

    It is acme in acme.shop.example for shop.example; www is not a tenant. Without a domain it is
    the first label of a host with three or more labels, or of acme.localhost.
    """

    def tenant(request: Request) -> str | None:
        # The host without port and final dot (RFC 3986 section 3.2.2).
        header = request.header("Host") or ""
        host = header.partition(":")[0].lower().removesuffix(".")
        label, _, parent = host.partition(".")
        if not label or label == "www":
            return None
        if domain:
            is_below = parent == domain.lower()
        elif "." in parent:
            is_below = not parent.rpartition(".")[2].isdecimal()  # not an IPv4 address
        else:
            is_below = parent == "localhost"
        if not is_below:
            return None
        return label

    return tenant


def tenant_in_path(request: Request, handler: Handler) -> Response:
    """Middleware that reads the tenant from the path, outside of all users of the path.

    /t/acme/flights is /flights of the tenant acme. The prefix becomes part of SCRIPT_NAME, with
    which links begin.
    """
    environ = request.environ
    path: str = environ.get("PATH_INFO", "")
    mark, _, after_mark = path.removeprefix("/").partition("/")
    slug, _, tenant_path = after_mark.partition("/")
    # A parked request passes here twice, the second time with the new path.
    if mark == TENANTS and slug and "\0" not in slug and _TENANT not in environ:
        root = environ.get("SCRIPT_NAME", "")
        environ["SCRIPT_NAME"] = f"{root}/{mark}/{slug}"
        environ["PATH_INFO"] = f"/{tenant_path}"
        environ[_TENANT] = slug
    return handler(request)


def root_of_tenant(request: Request, slug: str) -> str:
    """Return the root of the pages of a tenant, with which its links begin."""
    root = request.root
    current = request.environ.get(_TENANT)
    if current:
        root = root.removesuffix(f"/{TENANTS}/{current}")
    return f"{root}/{TENANTS}/{slug}"


def tenant_by_path(request: Request) -> str | None:
    """Return the tenant that `tenant_in_path` has found."""
    return request.environ.get(_TENANT)
