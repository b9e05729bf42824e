"""What a change asks for: no more than it needs."""

from __future__ import annotations

import pytest
from forge_min.dev.watch import Changes, required_by

CASES = {
    "resources/item/schema.py": {"gen", "schemas", "style_sources"},
    "views/home.html": {"gen", "style_sources"},
    "resources/item/views/list.html": {"gen", "style_sources"},
    "app.py": {"code", "style_sources"},
    "resources/item/jobs.py": {"code", "style_sources"},
    "lib/deep/mail.py": {"code", "style_sources"},
    "gen/item/sql.py": {"code", "style_sources"},
    "gen/openapi.json": {"code"},
    "locale/de/LC_MESSAGES/messages.mo": {"code"},
    "forge.toml": {"gen", "code", "config", "style_sources"},
    "migrations/0002_x.sql": {"code", "migrations"},
    "migrations/0002_x.draft": set(),
    "static/css/app.css": {"stylesheets", "style_sources"},
    "static/logo.svg": {"assets"},
    "static/board.js": {"assets", "style_sources"},
    "tests/test_item.py": set(),
    "README.md": set(),
    "notes.txt": set(),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_asks_for_the_least_that_makes_it_true(name: str) -> None:
    asked = required_by([name])
    assert {field for field in Changes._fields if getattr(asked, field)} == CASES[name]


def test_several_files_ask_for_all_of_it() -> None:
    asked = required_by(["static/a.css", "app.py", "README.md"])
    assert asked.code and asked.stylesheets and not asked.gen and not asked.assets
