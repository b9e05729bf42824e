"""Files are served from their folder, and from nowhere else."""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
import os
import resource
import sys
import zipfile

import pytest
from forge_min.errors import NotFound, Unavailable
from forge_min.resources import files as files_of
from forge_min.wsgi import Application, Request, Router, StaticFiles, static
from forge_min.wsgi.problem import HTTPProblem


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "static"
    (root / "css").mkdir(parents=True)
    (root / "css" / "a.css").write_bytes(b"body{}")
    (root / "x.js").write_bytes(b"1")
    (root / ".hidden").write_bytes(b"secret")
    (root / "odd").write_bytes(b"\0")
    (tmp_path / "outside.txt").write_bytes(b"secret")
    (root / "out.txt").symlink_to(tmp_path / "outside.txt")
    (root / "up").symlink_to(tmp_path)
    (root / "in.js").symlink_to(root / "x.js")
    (root / "loop").symlink_to(root / "loop")
    return root


def get(files, path, tag=None):
    request = Request({"REQUEST_METHOD": "GET", "HTTP_IF_NONE_MATCH": tag})
    request.params = {"path": path}
    return files(request)


def test_a_file_that_cannot_be_opened_now_is_not_said_to_be_missing(folder):
    files = StaticFiles(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(Unavailable):
            get(files, "css/a.css")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert get(files, "css/a.css").status == 200


def test_a_file_has_its_type_and_a_tag(folder):
    files = StaticFiles(folder)
    answer = get(files, "css/a.css")
    assert (answer.status, answer.body) == (200, b"body{}")
    assert answer.header("Content-Type") == "text/css; charset=utf-8"
    assert answer.header("Cache-Control") == "no-cache"
    assert get(files, "x.js").header("Content-Type") == "text/javascript; charset=utf-8"
    assert get(files, "odd").header("Content-Type") == "application/octet-stream"
    assert get(files, "in.js").body == b"1"


def test_a_known_tag_gives_304_and_a_changed_file_200(folder):
    files = StaticFiles(folder)
    tag = get(files, "x.js").header("ETag")
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = get(files, "x.js", sent)
        assert (answer.status, answer.body, answer.header("ETag")) == (304, b"", tag)
    assert get(files, "x.js", '"other"').status == 200
    (folder / "x.js").write_bytes(b"2")
    assert get(files, "x.js", tag).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "",
        "nope",
        "css",
        "css/",
        "../outside.txt",
        "css/../../outside.txt",
        "/etc/passwd",
        "//etc/passwd",
    ]
    + [
        ".hidden",
        "css/./a.css",
        "out.txt",
        "up/outside.txt",
        "loop",
        "x.js/",
        "x.js/y",
        "x.js\0",
        "a\\b",
    ]
    + ["..\\outside.txt", "a" * 5000],
)
def test_nothing_else_is_served(folder, path):
    with pytest.raises(NotFound):
        get(StaticFiles(folder), path)


def test_files_of_a_package_in_a_zip_are_served(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("zipped_pkg/__init__.py", "")
        archive.writestr("zipped_pkg/static/css/a.css", "b{}")
    monkeypatch.syspath_prepend(str(tmp_path / "p.zip"))
    files = StaticFiles(importlib.resources.files("zipped_pkg") / "static")
    assert get(files, "css/a.css").body == b"b{}"
    for path in ("../__init__.py", "css", "nope", ""):
        with pytest.raises(NotFound):
            get(files, path)
    sys.modules.pop("zipped_pkg", None)


BIG = bytes(range(256)) * 1024  # more than is sent whole


def ask(files, path, method="GET", **headers):
    """The answer with its body in one piece, as a server sends it."""
    environ = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    request = Request({"REQUEST_METHOD": method, **environ})
    request.params = {"path": path}
    answer = files(request)
    if not isinstance(answer.body, bytes):
        body = answer.body
        answer.body = b"".join(body)
        getattr(body, "close", lambda: None)()
    return answer


@pytest.fixture(params=["folder", "artifact"])
def big(request, tmp_path, monkeypatch):
    """A large file with a gzip beside it and a small one, in a folder and in a zip."""
    members = {"big.bin": BIG, "big.bin.gz": gzip.compress(BIG), "small": BIG[:1000]}
    if request.param == "folder":
        for name, data in members.items():
            (tmp_path / name).write_bytes(data)
        yield StaticFiles(tmp_path)
        return
    with zipfile.ZipFile(tmp_path / "p.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("packed_pkg/__init__.py", "")
        for name, data in members.items():
            archive.writestr(f"packed_pkg/{name}", data)
    monkeypatch.syspath_prepend(str(tmp_path / "p.zip"))
    yield StaticFiles(files_of("packed_pkg"))
    sys.modules.pop("packed_pkg", None)


@pytest.mark.parametrize("name", ["big.bin", "small"])
@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("Bytes=10-19", 10, 19),
        ("bytes=990-", 990, None),
        ("bytes=-10", -10, None),
        ("bytes=0-999999999999", 0, None),
        ("bytes=-999999999999", 0, None),
    ],
)
def test_a_range_is_206(big, name, wanted, first, last):
    data = BIG if name == "big.bin" else BIG[:1000]
    start = first % len(data)
    part = data[start : len(data) if last is None else last + 1]
    answer = ask(big, name, range=wanted)
    assert (answer.status, answer.body) == (206, part)
    whole = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
    assert answer.header("Content-Range") == whole
    assert answer.header("ETag") == ask(big, name).header("ETag")


@pytest.mark.parametrize(
    "wanted", ["bytes=0-1,5-6", "bytes=5-1", "bytes=-", "items=0-1", "bytes=a-", "bytes=0-1 x", ""]
)
def test_other_ranges_are_ignored(big, wanted):
    answer = ask(big, "big.bin", range=wanted)
    assert (answer.status, answer.body) == (200, BIG)
    assert answer.header("Accept-Ranges") == "bytes"


@pytest.mark.parametrize("wanted", ["bytes=1000-", "bytes=5000-6000", "bytes=-0", "bytes=-00"])
def test_a_range_outside_of_the_file_is_416(big, wanted):
    with pytest.raises(HTTPProblem) as caught:
        ask(big, "small", range=wanted)
    assert caught.value.status == 416
    assert caught.value.headers == (("Content-Range", "bytes */1000"),)


def test_if_range_asks_for_a_part_of_the_same_file_only(big):
    tag = ask(big, "big.bin").header("ETag")
    assert ask(big, "big.bin", range="bytes=1-2", if_range=tag).body == BIG[1:3]
    for other in (f"W/{tag}", '"other"', "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert ask(big, "big.bin", range="bytes=1-2", if_range=other).body == BIG
    assert ask(big, "big.bin", range="bytes=1-2", if_none_match=tag).status == 304


def test_a_range_of_the_gzip_is_one_of_its_bytes(big):
    whole = ask(big, "big.bin", accept_encoding="gzip")
    assert gzip.decompress(whole.body) == BIG
    part = ask(big, "big.bin", accept_encoding="gzip", range="bytes=2-9")
    assert part.body == whole.body[2:10]
    tag = ask(big, "big.bin").header("ETag")
    again = {"range": "bytes=2-9", "if_range": tag, "accept_encoding": "gzip"}
    assert ask(big, "big.bin", **again).status == 200


def test_what_has_a_known_tag_is_not_read(folder):
    with open(folder / "big", "wb") as file:
        file.truncate(1 << 40)  # no test has the time to read a tebibyte
        identity = static._identity(os.fstat(file.fileno()))
    files = StaticFiles(folder)
    files._files["big"] = static._File(folder.resolve() / "big", identity, 1 << 40, "0123")
    head = ask(files, "big", "HEAD", range="bytes=0-1")
    assert (head.status, head.body, head.header("ETag")) == (200, b"", '"0123"')
    assert head.header("Content-Length") == str(1 << 40)
    assert ask(files, "big", if_none_match='"0123"').status == 304
    assert ask(files, "big", range="bytes=-4").body == bytes(4)


def test_a_file_is_hashed_once_until_it_changes(folder, monkeypatch):
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: (hashed.append(a), digest(*a))[1])
    monkeypatch.setattr(static, "_CTIME_GRANULARITY", -(1 << 62))  # as if all were written long ago
    files = StaticFiles(folder)
    tags = {ask(files, "x.js").header("ETag") for _ in range(3)}
    assert (len(tags), len(hashed)) == (1, 1)
    (folder / "new").write_bytes(b"2")
    os.replace(folder / "new", folder / "x.js")
    assert ask(files, "x.js").header("ETag") not in tags
    assert len(hashed) == 2


def test_a_file_that_is_replaced_while_it_is_sent_is_sent_to_its_end(folder):
    (folder / "big").write_bytes(BIG)
    files = StaticFiles(folder)
    request = Request({"REQUEST_METHOD": "GET"})
    request.params = {"path": "big"}
    body = files(request).body
    pieces = [next(body)]
    (folder / "new").write_bytes(b"other")
    os.replace(folder / "new", folder / "big")
    assert b"".join([*pieces, *body]) == BIG
    body.close()
    assert ask(files, "big").body == b"other"


def resident():
    """Bytes of memory that this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_clients_that_do_not_read_hold_neither_memory_nor_workers(folder, serve, connect):
    with open(folder / "movie", "wb") as file:
        file.truncate(40 << 20)
    router = Router()
    router.add("GET", "/{path...}", StaticFiles(folder))
    server = serve(Application(router), threads=2)
    assert connect(server).get("/movie", method="HEAD").answer(head_only=True).status == 200
    before = resident()
    idle = [connect(server).get("/movie") for _ in range(12)]
    for peer in idle:
        assert b"200 OK" in peer.until(b"\r\n\r\n")
    answer = connect(server).get("/x.js").answer()
    assert (answer.status, answer.body) == (200, b"1")
    assert resident() - before < 40 << 20
    left, idle[0].left = (40 << 20) - len(idle[0].left), b""
    while left:
        left -= len(idle[0].sock.recv(min(left, 1 << 20)))
    assert idle[0].get("/movie", "Range: bytes=0-3\r\n").answer().body == bytes(4)
    for peer in idle:
        peer.close()
