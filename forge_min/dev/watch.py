"""Which files of a project have changed, and what that asks for.

Changes are found by comparing two looks at all files: it does not matter how an editor saves, nor
which file system holds the project.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

Stamp = tuple[int, int, int]  # of a file: when it was written, its size, which file it is

INTERVAL = 0.1  # seconds between looks, at least
SETTLE = 0.02  # seconds without a change after which what is being saved is saved
LONGEST = 0.3  # seconds that changes may go on: a checkout
_SKIPPED = frozenset(("__pycache__", "node_modules", "dist"))
_CODE = (".py", ".sql", ".toml", ".po", ".mo", ".json")


class Watcher:
    """The files below `root`: none that is hidden, made by Python, or of an environment.

    interval: seconds to the next look, which takes a twentieth of the time at most.
    """

    def __init__(self, root: Path) -> None:
        self._root, began = str(root), time.monotonic()
        self._seen = dict(self._look())
        self.interval = max(INTERVAL, 20 * (time.monotonic() - began))

    def changed(self) -> set[str]:
        """The files that are new, gone or not as they were at the last call: "static/a.css".

        Waits until what is being saved is saved.
        """
        before, self._seen = self._seen, dict(self._look())
        latest, end = before, time.monotonic() + LONGEST
        while self._seen != latest and time.monotonic() < end:
            time.sleep(SETTLE)
            latest, self._seen = self._seen, dict(self._look())
        return {name for name, _ in before.items() ^ self._seen.items()}

    def _look(self) -> Iterator[tuple[str, Stamp]]:
        folders = [self._root]
        while folders:
            try:
                with os.scandir(folders.pop()) as entries:
                    found = list(entries)
            except OSError:  # it went away meanwhile
                continue
            if any(entry.name == "pyvenv.cfg" for entry in found):
                continue
            for entry in found:
                if entry.name.startswith(".") or entry.name in _SKIPPED:
                    continue
                with suppress(OSError):  # as above, or a link to nothing
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                        continue
                    stat = entry.stat()
                    stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                    yield entry.path[len(self._root) + 1 :], stamp


class Changes(NamedTuple):
    """The steps that changed files require.

    gen: schemas, pages or forge.toml, gen/ is to be written anew. schemas: schemas.
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


def required_by(names: Iterable[str]) -> Changes:
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
