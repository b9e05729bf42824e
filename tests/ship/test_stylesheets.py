"""Stylesheets may load nothing from another host."""

from __future__ import annotations

from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.ship.stylesheets import check_stylesheets


def sheet(root: Path, text: str) -> Path:
    """A project whose one stylesheet has this text."""
    (root / "static" / "css").mkdir(parents=True)
    (root / "static" / "css" / "a.css").write_text(text)
    return root


@pytest.mark.parametrize(
    "text",
    [
        '@import "https://cdn.invalid/x.css";',
        "@import url(//cdn.invalid/x.css);",
        "a { background: URL( 'HTTP://cdn.invalid/x.png' ) }",
        "/* fine */ a { src: url(https://cdn.invalid/f.woff2) }",
    ],
)
def test_another_host_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(BuildError, match=r"static/css/a\.css:3: .*cdn\.invalid") as caught:
        check_stylesheets(sheet(tmp_path, "/* one\ntwo */\n" + text))
    assert caught.value.code == "F343"


@pytest.mark.parametrize(
    "text",
    [
        "a { background: url(/static/a.png) }",
        "a { background: url('data:image/png;base64,//8=') }",
        "/* see https://example.invalid/x */ a { color: red }",
        "/* url(https://cdn.invalid/x.png) */",
        '@namespace svg url("#x"); a { content: "https://text.invalid" }',
    ],
)
def test_its_own_files_and_words_are_fine(tmp_path: Path, text: str) -> None:
    check_stylesheets(sheet(tmp_path, text))


def test_no_stylesheets_are_fine(tmp_path: Path) -> None:
    check_stylesheets(tmp_path)
