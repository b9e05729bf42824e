"""Forwarding headers of trusted proxies: the client's address, the original scheme and host.

Each proxy appends its entry, so the list is read from the end while the sender of an entry is
trusted. Any client may have written the entries before.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple

from ...lazy import lazy_pattern
from ..contract import TRUSTED_PROXY
from .request_head import is_host

UNIX = "unix"
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR = lazy_pattern(rf'[ \t]*({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")[ \t]*')
_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._\-]+))?"  # or an obfuscated port (RFC 7239 section 6.3)
_NODE = lazy_pattern(rf"\[([0-9A-Fa-f:.]+)\]{_PORT}|([0-9.]+){_PORT}|([0-9A-Fa-f:.]+)")

_MAX_HOPS = 32  # hops that are read
_KEYS = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST")  # of a Hop

log = logging.getLogger("forge_min.wsgi.server")


class Hop(NamedTuple):
    """The entry of one proxy. client: an address, "" if unknown."""

    client: str
    scheme: str = ""
    host: str = ""


_UNTRUSTED = (
    "a request from %s has X-Forwarded-For, but server.trusted_proxies does not name this peer; "
    "if it is your proxy, all its clients count as one address"
)


class TrustedProxies:
    """Sets the client's address, scheme and host in the environ of requests from trusted proxies.

    trusted: addresses and networks ("10.0.0.0/8"), and "unix" for all peers on a Unix socket.

    Raises ValueError for other entries.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted = frozenset(trusted)
        self.are_set = bool(self._trusted)
        self._networks = [ip_network(text) for text in self._trusted - {UNIX}]
        self.trusts = lru_cache(1000)(self._is_trusted)
        self._warns = True

    def apply(self, environ: dict[str, Any]) -> None:
        """Change REMOTE_ADDR, wsgi.url_scheme and HTTP_HOST to the values of a trusted peer.

        Sets forge.trusted_proxy. Reads Forwarded (RFC 7239), or X-Forwarded-For, -Proto and -Host.
        If both are sent, the client may have written one of them: only equal values count.
        """
        peer = environ["REMOTE_ADDR"]
        is_trusted = self.trusts(peer)
        environ[TRUSTED_PROXY] = is_trusted
        if not is_trusted:
            if self._warns and "HTTP_X_FORWARDED_FOR" in environ:
                self._warns = False  # once, because any client may send the header
                log.warning(_UNTRUSTED, peer or "a Unix socket")
            return
        nearest = [
            self._nearest(peer, hops)
            for hops in (_forwarded(environ), _x_forwarded(environ))
            if hops is not None
        ]
        for key, values in zip(_KEYS, zip(*nearest)):
            if values[0] and len(set(values)) == 1:
                environ[key] = values[0]
        if environ["REMOTE_ADDR"] != peer:
            environ.pop("REMOTE_PORT", None)  # the proxy's

    def _nearest(self, peer: str, hops: Sequence[Hop]) -> Hop:
        """Return the values that only trusted hops have set."""
        scheme = ""
        host = ""
        for hop in reversed(hops):
            if not self.trusts(peer):
                break
            scheme = hop.scheme or scheme
            host = hop.host or host
            if not hop.client:
                break
            peer = hop.client
        return Hop(peer, scheme, host)

    def _is_trusted(self, address: str) -> bool:
        """Return whether a peer is trusted. "": a peer on a Unix socket."""
        if not address:
            return UNIX in self._trusted
        try:
            peer = _plain(ip_address(address))
        except ValueError:
            return False
        return any(peer in network for network in self._networks)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return an IPv4 address for a mapped one, such as ::ffff:192.0.2.1."""
    return getattr(address, "ipv4_mapped", None) or address


def _client(node: str) -> str:
    """Return the address of a node (RFC 7239, 6); "" for a name, "unknown" or "_hidden"."""
    match = _NODE.fullmatch(node.strip(" \t"))
    if match is None:
        return ""
    address = match[1] or match[2] or match[3]
    try:
        return str(_plain(ip_address(address)))
    except ValueError:
        return ""


def _hop(client: str, scheme: str = "", host: str = "") -> Hop:
    """Return an entry with "" for each invalid value."""
    scheme = scheme.strip(" \t").lower()
    host = host.strip(" \t")
    if scheme not in ("http", "https"):
        scheme = ""
    if not is_host(host):
        host = ""
    return Hop(_client(client), scheme, host)


def _x_forwarded(environ: dict[str, Any]) -> list[Hop] | None:
    """Read X-Forwarded-*.

    Scheme and host are those of the last hop, which sets one value or appends its own.
    """
    clients = environ.get("HTTP_X_FORWARDED_FOR")
    schemes = environ.get("HTTP_X_FORWARDED_PROTO")
    hosts = environ.get("HTTP_X_FORWARDED_HOST")
    if clients is None and schemes is None and hosts is None:
        return None
    nodes = (clients or "").split(",")
    *earlier, last = nodes[-_MAX_HOPS:]
    scheme = (schemes or "").rpartition(",")[2]
    host = (hosts or "").rpartition(",")[2]
    return [*map(_hop, earlier), _hop(last, scheme, host)]


def _forwarded(environ: dict[str, Any]) -> list[Hop] | None:
    """Read the elements of Forwarded; [] if it is malformed (RFC 7239 section 4)."""
    text = environ.get("HTTP_FORWARDED")
    if text is None:
        return None
    if text.count(",") > _MAX_HOPS:
        return []
    hops = []
    pairs = {}
    at = 0
    while True:
        match = _PAIR.match(text, at)
        if match:
            name, token, quoted = match.groups("")
            pairs[name.lower()] = token or re.sub(r"\\(.)", r"\1", quoted)
            at = match.end()
        separator = text[at : at + 1]
        if separator not in ("", ",", ";"):
            return []
        if separator != ";":
            client = pairs.get("for", "")
            hops.append(_hop(client, pairs.get("proto", ""), pairs.get("host", "")))
            pairs = {}
        if not separator:
            return hops
        at += 1
