"""What trusted proxies say of a request: who its client is, which scheme and host it asked for.

Each hop adds itself at the end of the list, so the list is read from the end, as long as whoever
added an entry is trusted. What stands further left, anybody may have written.
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
_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._\-]+))?"  # or a word in its place (RFC 7239 section 6.3)
_NODE = lazy_pattern(rf"\[([0-9A-Fa-f:.]+)\]{_PORT}|([0-9.]+){_PORT}|([0-9A-Fa-f:.]+)")

_MOST = 32  # hops that are read
_KEYS = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST")  # of a Hop

log = logging.getLogger("forge_min.wsgi.server")


class Hop(NamedTuple):
    """What one proxy said. client: an address, "" for what is none."""

    client: str
    scheme: str = ""
    host: str = ""


def warn_of_untrusted(peer: str) -> None:
    """Log that a peer that is not trusted names a client. Callers do so once in a process: any
    client may send the field.
    """
    log.warning(
        "a request from %s has X-Forwarded-For, but server.trusted_proxies does not name this "
        "peer; if it is your proxy, all its clients count as one address",
        peer or "a Unix socket",
    )


class TrustedProxies:
    """Puts a client's address, scheme and host into the environ of what trusted proxies pass on.

    given: addresses and networks ("10.0.0.0/8"), and "unix" for whoever connects by a Unix socket.
    Raises ValueError for what is none of these.
    """

    def __init__(self, given: Iterable[str]) -> None:
        known = set(given)
        self._unix = UNIX in known
        self._networks = [ip_network(text) for text in known - {UNIX}]
        self._trusts = lru_cache(1000)(self._find)
        self._warns = True

    def trusts(self, address: str) -> bool:
        """Whether what this peer says counts. "": a peer on a Unix socket."""
        return self._trusts(address) if address else self._unix

    def apply(self, environ: dict[str, Any]) -> None:
        """Change REMOTE_ADDR, wsgi.url_scheme and HTTP_HOST, where a trusted peer tells of them;
        forge.trusted_proxy says whether the peer is one.

        Forwarded (RFC 7239) or the X-Forwarded-For, -Proto and -Host of custom. Where both are
        there, one of them may be of the client's own making: what counts is what both say.
        """
        peer = environ["REMOTE_ADDR"]
        environ[TRUSTED_PROXY] = trusted = self.trusts(peer)
        if not trusted:
            if self._warns and "HTTP_X_FORWARDED_FOR" in environ:
                self._warns = False
                warn_of_untrusted(peer)
            return
        both = (_forwarded(environ), _x_forwarded(environ))
        said = [self._nearest(peer, hops) for hops in both if hops is not None]
        for key, values in zip(_KEYS, zip(*said)):
            if values[0] and len(set(values)) == 1:
                environ[key] = values[0]
        if environ["REMOTE_ADDR"] != peer:
            environ.pop("REMOTE_PORT", None)  # the proxy's

    def _nearest(self, peer: str, hops: Sequence[Hop]) -> Hop:
        """What is known by the word of trusted hops alone."""
        scheme, host = "", ""
        for hop in reversed(hops):
            if not self.trusts(peer):
                break
            scheme, host = hop.scheme or scheme, hop.host or host
            if not hop.client:
                break
            peer = hop.client
        return Hop(peer, scheme, host)

    def _find(self, address: str) -> bool:
        try:
            given = _plain(ip_address(address))
        except ValueError:
            return False
        return any(given in network for network in self._networks)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address as such, also where a socket for both shows it as ::ffff:192.0.2.1."""
    return getattr(address, "ipv4_mapped", None) or address


def _client(node: str) -> str:
    """The address of a node (RFC 7239 section 6); "" for a name, for "unknown", for "_hidden"."""
    found = _NODE.fullmatch(node.strip(" \t"))
    if found is None:
        return ""
    try:
        return str(_plain(ip_address(found[1] or found[2] or found[3])))
    except ValueError:
        return ""


def _scheme(text: str) -> str:
    scheme = text.strip(" \t").lower()
    return scheme if scheme in ("http", "https") else ""


def _host(text: str) -> str:
    host = text.strip(" \t")
    return host if is_host(host) else ""


def _x_forwarded(environ: dict[str, Any]) -> list[Hop] | None:
    """The fields of custom. Scheme and host are the last hop's: it sets one value, or adds its own
    at the end.
    """
    clients, scheme, host = (
        environ.get(f"HTTP_X_FORWARDED_{name}") for name in ("FOR", "PROTO", "HOST")
    )
    if clients is None and scheme is None and host is None:
        return None
    hops = [Hop(_client(node)) for node in (clients or "").split(",")[-_MOST:]]
    scheme, host = ((said or "").rpartition(",")[2] for said in (scheme, host))
    return [*hops[:-1], Hop(hops[-1].client, _scheme(scheme), _host(host))]


def _forwarded(environ: dict[str, Any]) -> list[Hop] | None:
    """The elements of Forwarded; [] where it is malformed (RFC 7239 section 4)."""
    text = environ.get("HTTP_FORWARDED")
    if text is None:
        return None
    if text.count(",") > _MOST:
        return []
    hops, pairs, at = [], dict[str, str](), 0
    while True:
        if found := _PAIR.match(text, at):
            name, token, quoted = found.groups()
            pairs[name.lower()] = token or re.sub(r"\\(.)", r"\1", quoted or "")
            at = found.end()
        if at < len(text) and text[at] not in ",;":
            return []
        if text[at : at + 1] != ";":
            said = (pairs.get(name, "") for name in ("for", "proto", "host"))
            client, scheme, host = said
            hops.append(Hop(_client(client), _scheme(scheme), _host(host)))
            pairs = {}
        if at == len(text):
            return hops
        at += 1
