"""The server speaks HTTP/1.1 as RFC 9112 says, and PEP 3333 to the application."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from wsgiref.validate import validator

import pytest
from forge_min.errors import ServerError
from forge_min.wsgi import Server


def echo(environ, start_response):
    """Answers with method, path and body."""
    body = environ["wsgi.input"].read()
    text = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} ".encode() + body
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text]


def saying(status="200 OK", headers=(), body=(b"x",)):
    def app(environ, start_response):
        start_response(status, list(headers))
        return list(body)

    return app


def test_a_connection_answers_one_request_after_the_other(serve, connect):
    peer = connect(serve(echo))
    for n in range(40):
        answer = peer.get(f"/{n}").answer()
        assert (answer.status, answer.body) == (200, b"GET /%d " % n)
        assert "connection" not in answer.headers
        assert answer.headers["date"].endswith(" GMT")


def test_pipelined_requests_are_answered_in_order(serve, connect):
    server = serve(echo)
    peer = connect(server)
    post = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%02d"
    peer.send("".join(post % n for n in range(99)))
    assert [peer.answer().body for _ in range(99)] == [b"POST /p %02d" % n for n in range(99)]


def test_a_pipeline_of_slow_answers_lets_others_in_between(serve, connect):
    asked = threading.Event()

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/other":
            asked.set()
        elif environ["PATH_INFO"] == "/last":
            asked.wait(10)
        return echo(environ, start_response)

    server = serve(app, threads=1)
    greedy = connect(server)
    other = connect(server)
    line = "GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
    other.get("/warm").answer()
    greedy.send(line % "x" * 40)
    assert other.get("/other").answer().status == 200
    assert [greedy.answer().status for _ in range(40)] == [200] * 40


def test_a_chunked_body_reaches_the_application_whole(serve, connect):
    peer = connect(serve(echo))
    peer.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in ("3\r", "\nab", "c\r\n", "2\r\nde\r\n", "0\r\n", "\r\n"):
        peer.send(piece)
    assert peer.answer().body == b"POST / abcde"
    assert peer.get("/next").answer().body == b"GET /next "


def test_the_client_is_told_to_go_on_when_it_asks(serve, connect):
    peer = connect(serve(echo))
    peer.get("/", "Expect: 100-continue\r\nContent-Length: 2\r\n", method="POST")
    assert peer.answer().status == 100
    assert peer.send("ab").answer().body == b"POST / ab"


def test_a_body_that_would_be_refused_is_not_asked_for(serve, connect):
    peer = connect(serve(echo, max_body=10))
    peer.get("/", "Expect: 100-continue\r\nContent-Length: 11\r\n", method="POST")
    assert peer.answer().status == 413


def test_a_body_that_came_along_is_not_asked_for(serve, connect):
    peer = connect(serve(echo))
    peer.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")
    assert peer.answer().status == 200


def test_head_gives_the_length_and_no_body(serve, connect):
    peer = connect(serve(saying(body=[b"hello"])))
    answer = peer.get(method="HEAD").answer(head_only=True)
    assert answer.headers["content-length"] == "5"
    assert peer.get().answer().body == b"hello"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body_send_none(serve, connect, status):
    peer = connect(serve(saying(status, [("Content-Length", "5")], [b"hello"])))
    for _ in range(2):
        answer = peer.get().answer()
        assert answer.status == int(status[:3])
        assert "content-length" not in answer.headers


def test_http_1_0_closes_unless_it_asks_to_keep_alive(serve, connect):
    server = serve(echo)
    got = connect(server).send("GET / HTTP/1.0\r\n\r\n").rest()
    assert b"\r\nConnection: close\r\n" in got
    assert got.endswith(b"GET / ")
    peer = connect(server)
    for _ in range(2):
        answer = peer.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").answer()
        assert answer.headers["connection"] == "keep-alive"


def test_a_client_that_wants_to_close_is_obeyed(serve, connect):
    peer = connect(serve(echo)).get(extra="Connection: x, Close\r\n")
    assert peer.answer().headers["connection"] == "close"
    assert peer.rest() == b""


def test_the_environ_is_what_pep_3333_says(serve, connect):
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        return echo(environ, start_response)

    server = serve(app)
    connect(server).get("/a%20b?q=1", "X-Y: z\r\n").answer()
    assert seen["PATH_INFO"] == "/a b"
    assert seen["QUERY_STRING"] == "q=1"
    assert seen["SERVER_PORT"] == str(server.server_port)
    assert seen["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert seen["HTTP_X_Y"] == "z"
    assert "CONTENT_LENGTH" not in seen
    assert seen["wsgi.input"].read() == b""


def test_wsgiref_finds_nothing_to_complain_about(serve, connect):
    def app(environ, start_response):
        environ["wsgi.input"].read(3)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
        return [b"ab", b"cd"]

    peer = connect(serve(validator(app)))
    for _ in range(3):
        assert (
            peer.get("/x?y", "Content-Length: 3\r\n", "POST").send("abc").answer().body == b"abcd"
        )


# -- bodies of unknown length ----------------------------------------------------------------------


class StreamingBody:
    """An iterable body that remembers its close."""

    def __init__(self, pieces, fail=None):
        self.pieces, self.fail = pieces, fail
        self.closed = threading.Event()

    def __iter__(self):
        yield from self.pieces
        if self.fail is not None:
            raise self.fail

    def close(self):
        self.closed.set()


def giving(body, headers=(), write=b""):
    def app(environ, start_response):
        out = start_response("200 OK", list(headers))
        if write:
            out(write)
        return body

    return app


def test_an_iterable_is_sent_in_chunks_and_closed(serve, connect):
    body = StreamingBody([b"ab", b"", b"c" * 100_000])
    peer = connect(serve(giving(body)))
    answer = peer.get().answer()
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.body == b"ab" + b"c" * 100_000
    assert body.closed.wait(10)
    assert peer.get().answer().status == 200


def test_an_iterable_ends_with_the_connection_on_http_1_0(serve, connect):
    peer = connect(serve(giving(StreamingBody([b"ab", b"cd"]))))
    got = peer.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").rest()
    assert got.endswith(b"\r\n\r\nabcd")
    assert b"chunked" not in got


def test_an_iterable_with_a_length_is_sent_as_it_is(serve, connect):
    peer = connect(serve(giving(StreamingBody([b"ab", b"cd"]), [("Content-Length", "4")])))
    assert [peer.get().answer().body for _ in range(2)] == [b"abcd"] * 2


def test_an_empty_iterable_is_an_empty_body(serve, connect):
    assert connect(serve(giving(StreamingBody([])))).get().answer().body == b""


def test_write_sends_before_the_returned_body(serve, connect):
    peer = connect(serve(giving([b"cd"], write=b"ab")))
    assert [peer.get().answer().body for _ in range(2)] == [b"abcd"] * 2


def test_head_of_an_iterable_sends_none_of_it(serve, connect):
    peer = connect(serve(giving(StreamingBody([b"ab"]))))
    peer.get(method="HEAD").answer(head_only=True)
    assert peer.get().answer().body == b"ab"


# -- applications that go wrong --------------------------------------------------------------------


def broken(kind):
    def app(environ, start_response):
        if kind == "raises":
            raise RuntimeError("secret detail")
        if kind == "exits":
            raise SystemExit(3)
        if kind == "twice":
            start_response("200 OK", [])
            start_response("200 OK", [])
        if kind != "never starts":
            start_response("200 OK", [])
        return {"gives none": None, "gives text": ["text"], "gives a number": 5}.get(kind, [b"x"])

    return app


KINDS = "raises exits|never starts|gives none|gives text|gives a number|twice".replace(
    " exits", "|exits"
)


@pytest.mark.parametrize("kind", KINDS.split("|"))
def test_an_application_that_goes_wrong_gives_one_clean_500(serve, connect, caplog, kind):
    server = serve(broken(kind), threads=1)
    for _ in range(2):
        got = connect(server).get().rest()
        assert got.startswith(b"HTTP/1.1 500 ")
        assert got.count(b"HTTP/1.1 ") == 1
        assert b"secret" not in got
    assert "the application failed: GET /" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nSet-Cookie: b=c"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "a\0b"),
        ("X\r\nY", "a"),
        ("X: a\r\nY", "b"),
        ("X Y", "a"),
        ("", "a"),
        ("X", "\u20ac"),
        ("X", 5),
        ("X", b"a"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "keep-alive"),
        ("Content-Length", "1\r\n"),
        ("Content-Length", "-1"),
    ],
)
def test_no_header_can_split_an_answer(serve, connect, caplog, name, value):
    got = connect(serve(saying(headers=[(name, value)]))).get().rest()
    assert got.startswith(b"HTTP/1.1 500 ")
    assert b"Set-Cookie" not in got
    assert "the application failed" in caplog.text


@pytest.mark.parametrize("status", ["200 OK\r\nX: y", "99 Low", "100 Continue", "abc", "200", ""])
def test_no_status_can_split_an_answer(serve, connect, caplog, status):
    got = connect(serve(saying(status))).get().rest()
    assert got.startswith(b"HTTP/1.1 500 ")
    assert b"X: y" not in got


def test_an_error_after_the_body_began_cuts_the_connection(serve, connect, caplog):
    body = StreamingBody([b"ab"], fail=RuntimeError("late"))
    got = connect(serve(giving(body))).get().rest()
    assert got.count(b"HTTP/1.1 ") == 1
    assert b"2\r\nab\r\n" in got
    assert not got.endswith(b"0\r\n\r\n")
    assert body.closed.wait(10)
    assert "late" in caplog.text


@pytest.mark.parametrize("pieces", [[b"abc"], [b"a", b"bc", b"defg"]])
def test_a_body_that_breaks_its_length_never_goes_on(serve, connect, caplog, pieces):
    peer = connect(serve(giving(StreamingBody(pieces), [("Content-Length", "5")])))
    peer.get().get("/second")
    assert peer.rest().count(b"HTTP/1.1 200") == 1
    assert "Content-Length" in caplog.text


def test_start_response_may_start_anew_until_something_is_sent(serve, connect):
    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            raise RuntimeError
        except RuntimeError as err:
            start_response("503 Busy", [], (type(err), err, err.__traceback__))
        return [b"x"]

    assert connect(serve(app)).get().answer().status == 503


# -- lifecycle -------------------------------------------------------------------------------------


def test_without_an_application_the_answer_is_503_until_it_comes(serve, connect):
    server = serve()
    peer = connect(server)
    answer = peer.get().answer()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    server.set_app(echo)
    assert peer.get().answer().status == 200


def test_a_port_in_use_is_an_error_with_a_hint(serve):
    server = serve(echo)
    with pytest.raises(ServerError, match=f"127.0.0.1:{server.server_port} is in use") as caught:
        Server(("127.0.0.1", server.server_port))
    assert caught.value.code == "F500"
    assert "FORGE_SERVER_PORT" in caught.value.hint


def test_an_address_of_another_machine_is_an_error(serve):
    with pytest.raises(ServerError) as caught:
        Server(("192.0.2.1", 0))
    assert caught.value.code == "F500"


def test_a_host_without_an_address_is_an_error():
    with pytest.raises(ServerError) as caught:
        Server(("no such host", 0))
    assert caught.value.code == "F500"


def asked(path):
    """The answer of who listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(path)
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return sock.recv(4096)


def test_a_unix_socket_is_served_and_removed(tmp_path):
    path = str(tmp_path / "s")
    left = socket.socket(socket.AF_UNIX)  # what a killed server leaves behind
    left.bind(path)
    left.close()
    server = Server(("", 0), echo, unix_socket=path)
    server.start()
    with pytest.raises(ServerError) as caught:
        Server(("", 0), echo, unix_socket=path)
    assert caught.value.code == "F500"
    assert "(FORGE_SERVER_UNIX_SOCKET)" in caught.value.hint
    assert asked(path).startswith(b"HTTP/1.1 200 OK")
    server.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_unix_socket_that_is_anothers_by_now_stays(tmp_path):
    path, begun, over = str(tmp_path / "s"), threading.Event(), threading.Event()

    def slowly(environ, start_response):
        begun.set()
        over.wait(10)
        return echo(environ, start_response)

    old = Server(("", 0), slowly, unix_socket=path)
    old.start()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert begun.wait(10)
        drain = threading.Thread(target=old.stop)
        drain.start()
        while old.socket.fileno() >= 0:
            time.sleep(0.01)
        new = Server(("", 0), echo, unix_socket=path)
        new.start()
        over.set()
        drain.join()
        sock.settimeout(10)
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 OK")
    assert asked(path).startswith(b"HTTP/1.1 200 OK")
    new.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_socket_is_not_removed(tmp_path):
    path = tmp_path / "precious"
    path.write_text("kept")
    with pytest.raises(ServerError):
        Server(("", 0), echo, unix_socket=str(path))
    assert path.read_text() == "kept"


def test_threads_have_names_and_end(serve):
    server = serve(echo, threads=3, thread_name="web")

    def names():
        return sorted(t.name for t in threading.enumerate() if t.name.startswith("web-"))

    assert names() == ["web-1", "web-2", "web-3", "web-io", "web-timeouts"]
    server.start()
    assert len(names()) == 5
    assert server.stop()
    assert server.stop()
    assert names() == []


def test_a_server_that_never_started_can_be_stopped():
    server = Server(("127.0.0.1", 0), echo)
    assert server.stop()
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", server.server_port)) == errno.ECONNREFUSED


def test_the_host_is_never_looked_up(monkeypatch):
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("DNS was asked"))
    server = Server(("127.0.0.1", 0), echo)
    assert server.url == f"http://127.0.0.1:{server.server_port}"
    server.stop()


@pytest.fixture(autouse=True)
def logs(caplog):
    caplog.set_level(logging.ERROR, "forge_min")


def test_connections_inherit_the_options_of_the_listener(serve, connect, eventually):
    """Small answers leave at once, without Nagle's algorithm; what a network that vanished left
    unacknowledged is given up by the kernel."""
    server = serve(lambda environ, start_response: [], write_timeout=2.0)
    peers = [connect(server) for _ in range(40)]
    eventually(lambda: server.connections == len(peers))
    found = 0
    for sock in accepted_sockets({peer.sock.getsockname() for peer in peers}):
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 6000
        found += 1
    assert found == len(peers)


def accepted_sockets(peers):
    """Copies of this process's sockets that are connected to one of these addresses."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if "socket:" in os.readlink(f"/proc/self/fd/{name}"):
                sock = socket.socket(fileno=os.dup(int(name)))
                with suppress(OSError):
                    if sock.getpeername() in peers:
                        yield sock
                sock.close()


def test_a_socket_with_a_name_in_no_file_system_is_told_as_systemd_writes_it():
    name = f"forge-{time.time_ns()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + name)
    listener.listen()
    server = Server(("", 0), listener=listener)
    server.stop()
    assert server.url == "@" + name
