"""Files are served from their folder, and from nowhere else."""

from __future__ import annotations

import importlib.resources
import os
import resource
import sys
import zipfile

import pytest
from forge_min.errors import NotFound, Unavailable
from forge_min.wsgi import Request, StaticFiles


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
    files = StaticFiles(folder, max_age=60)
    tag = get(files, "x.js").header("ETag")
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = get(files, "x.js", sent)
        assert (answer.status, answer.body, answer.header("ETag")) == (304, b"", tag)
    assert get(files, "x.js", '"other"').status == 200
    assert "immutable" in get(files, "x.js").header("Cache-Control")
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
