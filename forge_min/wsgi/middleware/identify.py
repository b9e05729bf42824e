"""Who asks: the ways to know that, tried in turn, and the tenant that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...auth import Identity, as_identity
from ...errors import Forbidden, Unauthenticated
from ...observe import add_log_fields
from ..request import Request
from ..response import Response
from ..router import Handler

Method = Callable[[Request], Identity | None]
"""Tells who asks; None where the request says nothing that it knows of. Raises Unauthenticated for
what it knows and does not believe.
"""


TENANTS = "t"
"""The segment of a path after which a tenant is named."""
_TENANT = "forge.tenant"


class Identify:
    """Middleware. methods: the first that knows who asks decides; where none does, nobody asks.

    failed: told of each request whose caller is not believed, or not let into a tenant; may refuse
    it for good. varies: the headers in which a request names its tenant.
    """

    def __init__(
        self,
        methods: Sequence[Method],
        failed: Callable[[Request], object],
        varies: Sequence[str] = (),
    ) -> None:
        self._methods, self._failed, self._varies = methods, failed, varies

    def __call__(self, request: Request, handler: Handler) -> Response:
        """The handler's answer to whoever asks. Raises as the methods."""
        try:
            identity = None
            for method in self._methods:
                identity = method(request)
                if identity is not None:
                    break
        except (Unauthenticated, Forbidden):
            self._failed(request)
            raise
        if identity is None:
            return handler(request)
        request.identity = identity
        add_log_fields(user_id=identity.user)
        if identity.tenant is not None:
            add_log_fields(tenant_id=str(identity.tenant))
        # Two tenants' rows of one address may have the same ETag, so a cache has to tell them
        # apart (RFC 9110 section 12.5.5); a key may be for one of them.
        varies = [*self._varies, *["Authorization"] * (identity.tenant is not None)]
        with as_identity(identity):
            return _private(handler(request), ", ".join(varies))


def _private(response: Response, varies: str) -> Response:
    """What somebody is answered is nobody else's: no cache between may keep it, unless the handler
    says so (RFC 9111 section 3.5 keeps it from them where Authorization is sent, not for a cookie).
    """
    kept = response.header("Cache-Control") is not None
    more = [] if kept else [("Cache-Control", "private")]
    more += [("Vary", varies)] if varies else []
    if not more:
        return response
    return Response(response.status, response.body, [*response.headers, *more])


def bearer(request: Request) -> str | None:
    """The token of Authorization: Bearer (RFC 6750 section 2.1)."""
    sent: str | None = request.environ.get("HTTP_AUTHORIZATION")
    if sent is None:  # PERF: nearly all requests of a browser (benchmarks/http, hello)
        return None
    scheme, _, token = sent.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def tenant_by_header(name: str) -> Callable[[Request], str | None]:
    """The tenant that a header names: its slug or id."""
    return lambda request: (request.header(name) or "").strip() or None


def tenant_by_subdomain(domain: str = "") -> Callable[[Request], str | None]:
    """The one label before the domain: acme.shop.example of shop.example, and not www. Without a
    domain the first label of a host of three or more, or of acme.localhost.
    """
    behind = "." + domain.lower()

    def below_domain(request: Request) -> str | None:
        label, dot, rest = _host(request).partition(".")
        return label if dot + rest == behind and label not in ("", "www") else None

    return below_domain if domain else _by_first_label


def _by_first_label(request: Request) -> str | None:
    labels = _host(request).split(".")
    named = len(labels) > 2 or (len(labels) == 2 and labels[1] == "localhost")
    return labels[0] if named and labels[0] != "www" and not labels[-1].isdecimal() else None


def _host(request: Request) -> str:
    """Which host is asked for; it may have a port, and a dot at its end (RFC 3986, 3.2.2)."""
    return (request.header("Host") or "").partition(":")[0].lower().removesuffix(".")


def tenant_in_path(request: Request, handler: Handler) -> Response:
    """Middleware, outside of all that looks at the path: /t/acme/flights is /flights of the tenant
    acme, and what stands before it becomes part of SCRIPT_NAME, which links begin with.
    """
    environ = request.environ
    path: str = environ.get("PATH_INFO", "")
    mark, _, rest = path.removeprefix("/").partition("/")
    slug, _, below = rest.partition("/")
    # A request that was parked comes here again, as it is below.
    if mark == TENANTS and slug and "\0" not in slug and _TENANT not in environ:
        environ["SCRIPT_NAME"] = f"{environ.get('SCRIPT_NAME', '')}/{mark}/{slug}"
        environ["PATH_INFO"] = "/" + below
        environ[_TENANT] = slug
    return handler(request)


def tenant_by_path(request: Request) -> str | None:
    """The tenant that `tenant_in_path` found."""
    return request.environ.get(_TENANT)


def no_tenant(request: Request) -> str | None:
    """Of an application without tenants."""
    return None
