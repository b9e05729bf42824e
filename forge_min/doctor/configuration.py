"""The configuration: errors and warnings of the loader, and values that are valid but unsafe."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from .finding import Finding, State, any_or_ok, codes, format_error, new_finding, ok_unless, verdict
from .site import Site

SECRET = 32  # minimum characters
TOKEN = 16  # minimum characters
DISTINCT = 8  # minimum number of different characters in a random secret


def check_configuration(site: Site) -> Iterator[Finding]:
    """Check D301 and D302; secrets have their own checks."""
    mistakes = (new_finding("D301", "failed", format_error(err)) for err in site.mistakes)
    yield from any_or_ok("D301", mistakes, f"every value is valid; FORGE_ENV is {site.env}")
    warnings = (new_finding("D302", "warning", warning) for warning in site.warnings)
    yield from any_or_ok("D302", warnings, "none")


def check_secret(site: Site) -> Iterator[Finding]:
    """Check auth.secret. If it is not set in development, each start creates its own."""
    secret = site.settings["auth.secret"]
    if not secret:
        message = "is not set; separately started processes reject each other's forms and cursors"
        yield new_finding("D303", ok_unless(site.prod, "failed"), message)
        return
    why = weakness(secret, SECRET)
    yield verdict("D303", site.if_unsafe, why, f"{len(secret)} characters")


def check_admin(site: Site) -> Iterator[Finding]:
    """Check the address and token of the admin server."""
    s = site.settings
    if not s["admin.enabled"]:
        yield new_finding("D304", "ok", "is off")
        return
    host = s["admin.host"]
    token = s["admin.token"]
    local = host and is_local(host)
    if not token:
        message = f"listens at {host}, without a token"
        yield new_finding("D304", ok_unless(not local, "failed"), message)
        return
    why = weakness(token, TOKEN)
    if why:
        state = site.if_unusual if local else site.if_unsafe
        yield new_finding("D304", state, f"listens at {host}, and admin.token {why}")
    else:
        yield new_finding("D304", "ok", f"listens at {host}, with a token")


def check_openness(site: Site) -> Iterator[Finding]:
    """Check CORS, the mode and the trusted proxies."""
    s = site.settings
    origins = s["api.cors_origins"]
    state = ok_unless("*" in origins, site.if_unsafe)
    yield new_finding("D306", state, ", ".join(origins) or "only its own")
    mistaken = site.prod and site.env != "production"
    yield new_finding("D307", ok_unless(mistaken, "failed"), f"FORGE_ENV is {site.env}")
    if site.prod and s["observe.log_level"] == "debug":
        step = codes()["D302"]["next"]  # not D307's, because the mode is right
        yield new_finding("D307", "warning", "observe.log_level is debug", next=step)
    yield _check_proxies(site)


def _check_proxies(site: Site) -> Finding:
    s = site.settings
    proxies = s["server.trusted_proxies"]
    is_set = site.sources["server.trusted_proxies"] != "default"
    wrong = []
    if not is_set:
        wrong.append("server.trusted_proxies is not set")
    if not (proxies or s["server.unix_socket"] or is_local(s["server.host"])):
        wrong.append(f"{s['server.host']} serves plain HTTP, without HTTPS")
    if site.prod and wrong:
        step = """export FORGE_SERVER_TRUSTED_PROXIES='["127.0.0.1"]'"""
        state: State = "warning" if is_set else "failed"
        return new_finding("D308", state, "; ".join(wrong), next=step)
    every = any(net != "unix" and ip_network(net).prefixlen == 0 for net in proxies)
    message = ", ".join(proxies) or "none"
    return new_finding("D308", ok_unless(every, site.if_unusual), message)


def is_local(host: str) -> bool:
    """Return whether the host is this machine: loopback, or the folder of a socket."""
    try:
        return host in ("", "localhost") or host[0] == "/" or ip_address(host).is_loopback
    except ValueError:
        return False


def weakness(secret: str, least: int) -> str:
    """Return why a secret is easy to guess, without any part of it; "" if it passes.

    least: minimum characters.

    These are the two rules of Django's security.W009.
    """
    if len(secret) < least:
        return f"has fewer than {least} characters"
    if len(set(secret)) < DISTINCT:
        return "has too few different characters"
    return ""
