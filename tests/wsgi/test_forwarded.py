"""Whose word of a request's client counts, and how far."""

from __future__ import annotations

import pytest
from forge_min.wsgi.http1.forwarded import TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "2001:db8::/32"])
EDGE, INNER = "10.0.0.1", "10.9.9.9"


def seen(peer: str = EDGE, proxies: TrustedProxies = PROXIES, **fields: str) -> tuple[str, ...]:
    """(address, scheme, host) after the request came from `peer` with these fields."""
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "HTTP_HOST": "inner:8000"}
    environ |= {"HTTP_" + name: value for name, value in fields.items()}
    proxies.apply(environ)
    return environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["HTTP_HOST"]


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", "192.0.2.1"),  # the left one is the client's own word
        (f"203.0.113.9, 192.0.2.1, {INNER}", "192.0.2.1"),
        (f"{INNER}", INNER),  # all are trusted: the first of them
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db9::7]:4711", "2001:db9::7"),
        ("2001:db9::7", "2001:db9::7"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, unknown", EDGE),  # who stands behind what is unknown, nobody vouches for
        ("192.0.2.1,", EDGE),
        ("", EDGE),
        ("<script>", EDGE),
        ("192.0.2.999", EDGE),
        ("192.0.2.1 , \t10.2.3.4", "192.0.2.1"),
    ],
)
def test_the_client_is_the_last_whom_no_trusted_hop_is(said: str, client: str) -> None:
    assert seen(X_FORWARDED_FOR=said)[0] == client


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("for=192.0.2.1", ("192.0.2.1", "http", "inner:8000")),
        (
            'For="[2001:db9::7]:4711";Proto=HTTPS;host="a.example:8443"',
            ("2001:db9::7", "https", "a.example:8443"),
        ),
        ("for=9.9.9.9;proto=ftp, for=192.0.2.1;proto=https", ("192.0.2.1", "https", "inner:8000")),
        (
            f"for=192.0.2.1;proto=https;host=a.example, for={INNER};proto=http",
            ("192.0.2.1", "https", "a.example"),
        ),
        ('for="192.0.2.1:_4.7-x"', ("192.0.2.1", "http", "inner:8000")),  # section 6: an obfport
        ('for="[2001:db9::7]:_p"', ("2001:db9::7", "http", "inner:8000")),
        ('for="192.0.2.1:_"', (EDGE, "http", "inner:8000")),
        ("for=_hidden;proto=https", (EDGE, "https", "inner:8000")),
        ('for=192.0.2.1;host="a b"', ("192.0.2.1", "http", "inner:8000")),
        ('for=192.0.2.1;host="a\\.example"', ("192.0.2.1", "http", "a.example")),
        ("for=192.0.2.1 proto=https", (EDGE, "http", "inner:8000")),
        ('for="192.0.2.1', (EDGE, "http", "inner:8000")),
        ("", (EDGE, "http", "inner:8000")),
        ("for=192.0.2.1;;proto=https;", ("192.0.2.1", "https", "inner:8000")),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(said: str, expected: tuple[str, ...]) -> None:
    assert seen(FORWARDED=said) == expected


def test_a_scheme_and_a_host_of_a_trusted_peer_count() -> None:
    said = {"X_FORWARDED_PROTO": "https", "X_FORWARDED_HOST": "evil.example, shop.example"}
    assert seen(**said) == (EDGE, "https", "shop.example")
    assert seen(X_FORWARDED_PROTO="javascript", X_FORWARDED_HOST="a/b") == seen()


def test_nobody_elses_word_counts() -> None:
    said = {"X_FORWARDED_FOR": "10.0.0.7", "X_FORWARDED_PROTO": "https", "FORWARDED": "for=1.1.1.1"}
    assert seen("192.0.2.66", **said) == ("192.0.2.66", "http", "inner:8000")
    assert seen("", **said) == ("", "http", "inner:8000")
    assert seen("", TrustedProxies(["unix"]), X_FORWARDED_FOR="192.0.2.1")[0] == "192.0.2.1"
    assert seen(EDGE, TrustedProxies(["unix"]), X_FORWARDED_FOR="192.0.2.1")[0] == EDGE


def test_what_a_client_adds_beside_the_proxys_own_field_makes_nothing_true() -> None:
    own = {"X_FORWARDED_FOR": "192.0.2.1", "X_FORWARDED_PROTO": "https"}
    assert seen(**own, FORWARDED="for=127.0.0.1")[0] == EDGE
    assert seen(**own, FORWARDED="for=192.0.2.1;host=evil.example") == (
        "192.0.2.1", "http", "inner:8000",
    )  # fmt: skip
    assert seen(**own, FORWARDED="for=192.0.2.1;proto=https")[:2] == ("192.0.2.1", "https")


def test_an_environ_of_a_mapped_address_is_the_same_peer() -> None:
    assert seen("::ffff:10.0.0.1", X_FORWARDED_FOR="192.0.2.1")[0] == "192.0.2.1"


def test_each_request_of_a_kept_connection_has_its_own_client(serve, connect) -> None:
    def app(environ, start_response):
        start_response("200 OK", [])
        return [f"{environ['REMOTE_ADDR']} {environ.get('REMOTE_PORT')}".encode()]

    peer = connect(serve(app, trusted_proxies=["127.0.0.1"]))
    for client in ("192.0.2.1", "192.0.2.2"):
        assert peer.get(extra=f"X-Forwarded-For: {client}\r\n").answer().body == (
            f"{client} None".encode()
        )
    assert peer.get().answer().body.startswith(b"127.0.0.1 ")


@pytest.mark.parametrize("trusted", [[], ["192.0.2.1"]])
def test_the_first_request_of_a_proxy_that_nobody_named_is_logged(
    serve, connect, caplog: pytest.LogCaptureFixture, trusted: list[str]
) -> None:
    def app(environ, start_response):
        start_response("200 OK", [])
        return [environ["REMOTE_ADDR"].encode()]

    peer = connect(serve(app, trusted_proxies=trusted))
    assert peer.get().answer().body == b"127.0.0.1" and "trusted_proxies" not in caplog.text
    for _ in range(3):
        assert peer.get(extra="X-Forwarded-For: 192.0.2.7\r\n").answer().body == b"127.0.0.1"
    said = [r for r in caplog.records if "server.trusted_proxies" in r.getMessage()]
    assert len(said) == 1 and said[0].levelname == "WARNING"
    assert "from 127.0.0.1 has X-Forwarded-For" in said[0].getMessage()
