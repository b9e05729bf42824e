"""The configuration: errors and warnings of the loader, and values that are valid but unsafe."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from .finding import Finding, any_or_ok, codes, format_error, new_finding, verdict
from .site import Site

SECRET, TOKEN = 32, 16  # minimum characters
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
        yield new_finding("D303", "failed" if site.prod else "ok", message)
        return
    weak = weakness(secret, SECRET)
    yield verdict("D303", site.if_unsafe, weak, f"{len(secret)} characters")


def check_admin(site: Site) -> Iterator[Finding]:
    """Check the address and token of the admin server."""
    s = site.settings
    host, token = s["admin.host"], s["admin.token"]
    local = host and is_local(host)
    if not s["admin.enabled"]:
        yield new_finding("D304", "ok", "is off")
    elif not token:
        message = f"listens at {host}, without a token"
        yield new_finding("D304", "ok" if local else "failed", message)
    elif weak := weakness(token, TOKEN):
        state = site.if_unusual if local else site.if_unsafe
        yield new_finding("D304", state, f"listens at {host}, and admin.token {weak}")
    else:
        yield new_finding("D304", "ok", f"listens at {host}, with a token")


def check_openness(site: Site) -> Iterator[Finding]:
    """Check CORS, the mode and the trusted proxies."""
    s = site.settings
    any_origin = "*" in s["api.cors_origins"]
    origins = ", ".join(s["api.cors_origins"]) or "only its own"
    yield new_finding("D306", site.if_unsafe if any_origin else "ok", origins)
    mistaken = site.prod and site.env != "production"
    yield new_finding("D307", "failed" if mistaken else "ok", f"FORGE_ENV is {site.env}")
    if site.prod and s["observe.log_level"] == "debug":
        step = codes()["D302"]["next"]  # not D307's, because the mode is right
        yield new_finding("D307", "warning", "observe.log_level is debug", next=step)
    proxies = s["server.trusted_proxies"]
    wide = any(net != "unix" and ip_network(net).prefixlen == 0 for net in proxies)
    trusted = ", ".join(proxies) or "none"
    named = site.sources["server.trusted_proxies"] != "default"
    wrong = [] if named else ["server.trusted_proxies is not set"]
    if not (proxies or s["server.unix_socket"] or is_local(s["server.host"])):
        wrong.append(f"{s['server.host']} serves plain HTTP, without HTTPS")
    if site.prod and wrong:
        step = """export FORGE_SERVER_TRUSTED_PROXIES='["127.0.0.1"]'"""
        yield new_finding("D308", "warning" if named else "failed", "; ".join(wrong), next=step)
    else:
        yield new_finding("D308", site.if_unusual if wide else "ok", trusted)


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
    return "has too few different characters" if len(set(secret)) < DISTINCT else ""
