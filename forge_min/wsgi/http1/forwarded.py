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
        environ[TRUSTED_PROXY] = trusted = self.trusts(peer)
        if not trusted:
            if self._warns and "HTTP_X_FORWARDED_FOR" in environ:
                self._warns = False  # once, because any client may send the header
                log.warning(_UNTRUSTED, peer or "a Unix socket")
            return
        both = (_forwarded(environ), _x_forwarded(environ))
        nearest = [self._nearest(peer, hops) for hops in both if hops is not None]
        for key, values in zip(_KEYS, zip(*nearest)):
            if values[0] and len(set(values)) == 1:
                environ[key] = values[0]
        if environ["REMOTE_ADDR"] != peer:
            environ.pop("REMOTE_PORT", None)  # the proxy's

    def _nearest(self, peer: str, hops: Sequence[Hop]) -> Hop:
        """Return the values that only trusted hops have set."""
        scheme, host = "", ""
        for hop in reversed(hops):
            if not self.trusts(peer):
                break
            scheme, host = hop.scheme or scheme, hop.host or host
            if not hop.client:
                break
            peer = hop.client
        return Hop(peer, scheme, host)

    def _is_trusted(self, address: str) -> bool:
        """Return whether a peer is trusted. "": a peer on a Unix socket."""
        if not address:
            return UNIX in self._trusted
        try:
            known = _plain(ip_address(address))
        except ValueError:
            return False
        return any(known in network for network in self._networks)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return an IPv4 address for a mapped one, such as ::ffff:192.0.2.1."""
    return getattr(address, "ipv4_mapped", None) or address


def _client(node: str) -> str:
    """Return the address of a node (RFC 7239, 6); "" for a name, "unknown" or "_hidden"."""
    match = _NODE.fullmatch(node.strip(" \t"))
    if match is None:
        return ""
    try:
        return str(_plain(ip_address(match[1] or match[2] or match[3])))
    except ValueError:
        return ""


def _hop(client: str, scheme: str = "", host: str = "") -> Hop:
    """Return an entry with "" for each invalid value."""
    scheme, host = scheme.strip(" \t").lower(), host.strip(" \t")
    scheme = scheme if scheme in ("http", "https") else ""
    return Hop(_client(client), scheme, host if is_host(host) else "")


def _x_forwarded(environ: dict[str, Any]) -> list[Hop] | None:
    """Read X-Forwarded-*.

    Scheme and host are those of the last hop, which sets one value or appends its own.
    """
    clients, scheme, host = (
        environ.get(f"HTTP_X_FORWARDED_{name}") for name in ("FOR", "PROTO", "HOST")
    )
    if clients is None and scheme is None and host is None:
        return None
    *nodes, last = (clients or "").split(",")[-_MAX_HOPS:]
    scheme, host = ((values or "").rpartition(",")[2] for values in (scheme, host))
    return [*map(_hop, nodes), _hop(last, scheme, host)]


def _forwarded(environ: dict[str, Any]) -> list[Hop] | None:
    """Read the elements of Forwarded; [] if it is malformed (RFC 7239 section 4)."""
    text = environ.get("HTTP_FORWARDED")
    if text is None:
        return None
    if text.count(",") > _MAX_HOPS:
        return []
    hops, pairs, at = [], dict[str, str](), 0
    while True:
        if match := _PAIR.match(text, at):
            name, token, quoted = match.groups()
            pairs[name.lower()] = token or re.sub(r"\\(.)", r"\1", quoted or "")
            at = match.end()
        if at < len(text) and text[at] not in ",;":
            return []
        if text[at : at + 1] != ";":
            hops.append(_hop(*(pairs.get(name, "") for name in ("for", "proto", "host"))))
            pairs = {}
        if at == len(text):
            return hops
        at += 1
