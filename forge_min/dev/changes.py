"""What changed files ask for: the least that makes the site as they say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

_CODE = (".py", ".sql", ".toml", ".po", ".mo", ".json")


class Changes(NamedTuple):
    """gen: schemas, pages or forge.toml, gen/ is to be written anew. schemas: schemas.
    code: the process loads what changed. migrations: files of migrations/. config: forge.toml.
    assets: pages load what changed. stylesheets: they load those alone. looks: what a stylesheet
    may be made of.
    """

    gen: bool
    schemas: bool
    code: bool
    migrations: bool
    config: bool
    assets: bool
    stylesheets: bool
    looks: bool


def asked_by(names: Iterable[str]) -> Changes:
    """names: of files, as `Watcher.changed` gives them."""
    known = [name for name in names if not name.startswith(("tests/", "docs/"))]
    static = [name for name in known if name.startswith("static/")]
    gen = [name for name in known if _makes_gen(name)]
    migrations = [name for name in known if name.startswith("migrations/")]
    rest = set(known) - {*static, *gen}
    return Changes(
        gen=bool(gen) or "forge.toml" in rest,  # auth.roles is what schemas may name
        schemas=any(name.endswith(".py") for name in gen),
        code=any(name.endswith(_CODE) for name in rest),
        migrations=any(name.endswith(".sql") for name in migrations),
        config="forge.toml" in rest,
        assets=any(not name.endswith(".css") for name in static),
        stylesheets=any(name.endswith(".css") for name in static),
        # Also the settings that say how it is made: one that was wrong is told of until then.
        looks="forge.toml" in rest
        or any(name.endswith((".html", ".py", ".css", ".js")) for name in known),
    )


def _makes_gen(name: str) -> bool:
    folder, _, rest = name.partition("/")
    inside = rest.partition("/")[2]
    page = name.endswith(".html") and (folder == "views" or inside.startswith("views/"))
    return page or (folder == "resources" and inside == "schema.py")
