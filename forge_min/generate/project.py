"""A project's files: gen/ as a whole, and the files of the user, which are written once.

Each of a resource's ends with a mark, which shows whether a file was edited or is only old.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import BuildError, UsageError
from ..pages import compile_pages, library_page
from ..parse import ResourceIR
from .render import render
from .templating import common, imports, read_template, render_template
from .tree import TreeChanges, scaffold, write_tree

VIEWS = ("list", "show", "form", "delete")
ACCOUNT_VIEWS = {"account_sign_in": "sign_in", "account_password": "password", "account": "account"}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def generate(root: Path, resources: Sequence[ResourceIR], *, check: bool = False) -> TreeChanges:
    """Write gen/ below `root` for all `resources` and pages; with `check` only compare.

    BuildError F301, F302 and F304 of the tree, ErrorGroup with what is wrong in pages.
    """
    ordered = sorted(resources, key=lambda resource: resource.folder)
    pages = compile_pages(root)
    return write_tree(root / "gen", render(ordered, _views(root, ordered)) | pages, check=check)


def scaffold_resource(
    root: Path, *chosen: ResourceIR, known: Sequence[ResourceIR] = (), overwrite: bool = False
) -> list[str]:
    """Write the files of the `chosen` resources that are the user's; the paths written.

    One that is there stays as it is, unless `overwrite`. known: all resources of the project, when
    they are more: a job kind that several of them name has its class in one file.
    """
    fresh = _fresh(root, chosen, known)
    if overwrite:
        fresh = {path: text for path, text in fresh.items() if _text(root / path) != text}
    return scaffold(root, fresh, overwrite=overwrite)


def scaffold_views(root: Path, resource: ResourceIR, *, overwrite: bool = False) -> list[str]:
    """Copies of the library's pages of a resource, which take their place; the paths written. One
    that is there stays as it is, unless `overwrite`.
    """
    folder = f"resources/{resource.folder}/views"
    fresh = {f"{folder}/{name}.html": library_page(f"{name}.html") or "" for name in VIEWS}
    return scaffold(root, fresh, overwrite=overwrite)


def compare_scaffold(
    root: Path, *chosen: ResourceIR, known: Sequence[ResourceIR] = ()
) -> tuple[dict[str, str], str]:
    """Path → what has become of each scaffolded file of the `chosen` (see `render.state`), and the
    unified diff from them to fresh ones. Raises BuildError F307 for a file that is no text.
    """
    states, changes = {}, ""
    for path, fresh in _fresh(root, chosen, known).items():
        present = _text(root / path)
        states[path] = state(present, fresh)
        lines = ((present or "").splitlines(True), fresh.splitlines(True))
        changes += "".join(difflib.unified_diff(*lines, path, f"{path} (fresh)"))
    return states, changes


def _views(root: Path, resources: Sequence[ResourceIR]) -> dict[str, str]:
    """The project's own pages in place of the library's: their names → modules of gen/pages."""
    own = ("layout", *ACCOUNT_VIEWS)
    found = {name: name for name in own if (root / "views" / f"{name}.html").is_file()}
    for r in resources:
        for name in VIEWS:
            if (root / "resources" / r.folder / "views" / f"{name}.html").is_file():
                found[f"{r.table}.{name}"] = f"{r.folder}_{name}"
    return found


def _fresh(root: Path, chosen: Sequence[ResourceIR], known: Sequence[ResourceIR]) -> dict[str, str]:
    homes = _homes(root, known or chosen)
    return {path: text for r in chosen for path, text in scaffold_files(r, homes).items()}


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode() if path.is_file() else None
    except (OSError, UnicodeDecodeError) as err:
        raise BuildError(f"{path} cannot be read as text: {err}", code="F307") from err


def _homes(root: Path, resources: Sequence[ResourceIR]) -> dict[str, str]:
    """Job kind → folder: where its class stands already, else the first that names it."""
    homes: dict[str, str] = {}
    ordered = sorted((r for r in resources if r.hooks.all), key=lambda resource: resource.folder)
    texts = [_text(root / "resources" / r.folder / "jobs.py") or "" for r in ordered]
    for anywhere in (False, True):
        for resource, text in zip(ordered, texts, strict=True):
            for job in resource.hooks.all:
                if anywhere or re.search(rf"^class {job.kind}\b", text, re.MULTILINE):
                    homes.setdefault(job.kind, resource.folder)
    return homes


def scaffold_project(path: Path, name: str, *, admin: str = "") -> list[str]:
    """Start a project in the folder `path`. admin: as `project_files`. Paths written.
    Raises UsageError as `check_new`.
    """
    check_new(path, name)
    files = project_files(name, admin=admin)
    if admin:
        pages = {own: library_page(f"{ours}.html") or "" for own, ours in ACCOUNT_VIEWS.items()}
        files |= {f"views/{page}.html": text for page, text in pages.items()}
    return scaffold(path, files)


def check_new(path: Path, name: str) -> None:
    """Raises UsageError F010 for what cannot name a project, and for a folder that is there and not
    empty, or a link that leads to none.
    """
    if not _NAME.fullmatch(name):
        hint = "use a-z, 0-9, _ and -: for example shop"
        raise UsageError(f"{name!r} cannot name a project", hint=hint)
    taken = path.exists() or path.is_symlink()  # a link to nothing: its files would lie elsewhere
    if taken and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is already there and not empty", hint="choose another name")


_MARK = re.compile(r"^# forge: scaffold ([0-9a-f]{16})\n?", re.MULTILINE)


_SIGN_IN = "app.sign_in()  # pages below /account; users: forge-min auth create-user\n"
_MAKE_KEY = "    KEY=$(python -m forge_min auth create-key {} | head -n 1)\n"
_BY_KEY = '-H "Authorization: Bearer $KEY" '
_ROLES = {"read": "anybody", "create": "admin", "update": "admin", "delete": "admin"}
_PERMISSIONS = "".join(
    f'    schema.permission("{operation}", ["{role}"]),\n' for operation, role in _ROLES.items()
)


def project_files(name: str, *, admin: str = "") -> dict[str, str]:
    """Path below the project → text, of a new project with one resource and one live page.

    admin: the email of one; with pages to sign in at, and a resource that only an admin changes.
    """
    known = tomllib.loads(read_template("init/files.toml"))
    words = {
        "name": name,
        "sign_in": _SIGN_IN if admin else "",
        "make_key": _MAKE_KEY.format(shlex.quote(admin)) if admin else "",
        "by_key": _BY_KEY if admin else "",
        "permissions": _PERMISSIONS if admin else "",
        "account": '<a href="/account">Account</a> · ' if admin else "",
    }
    return {path: render_template(f"init/{file}", words) for path, file in known.items()}


def scaffold_files(resource: ResourceIR, homes: Mapping[str, str]) -> dict[str, str]:
    """Path below the project → text, of the files of a resource that belong to the user.

    homes: job kind → the folder whose jobs.py has its class; the others import it from there.
    """
    folder, names = f"resources/{resource.folder}", common(resource)
    found = {f"{folder}/actions.py": render_template("user_actions.py", names)}
    if resource.hooks.all:
        found[f"{folder}/jobs.py"] = render_template("user_jobs.py", names | _jobs(resource, homes))
    return {path: f"{text}# forge: scaffold {_hash(text)}\n" for path, text in found.items()}


def state(present: str | None, fresh: str) -> str:
    """What has become of a file: present is its text, fresh what `scaffold_files` gives today.

    "missing", "as scaffolded", "edited", "stale" (as it was scaffolded, but not as it would be
    today) or "edited and stale". A file without the mark is compared with today's.
    """
    if present is None:
        return "missing"
    (today,) = _MARK.findall(fresh)
    recorded = next(iter(_MARK.findall(present)), today)
    edited, stale = _hash(_MARK.sub("", present)) != recorded, recorded != today
    return " and ".join(["edited"] * edited + ["stale"] * stale) or "as scaffolded"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _jobs(resource: ResourceIR, homes: Mapping[str, str]) -> dict[str, str]:
    hooks: dict[str, list[str]] = {}
    for hook in ("after_create", "after_update", "after_delete"):
        for job in getattr(resource.hooks, hook):
            hooks.setdefault(job.kind, []).append(hook)
    classes, elsewhere = [], []
    for kind, found in hooks.items():
        if (home := homes.get(kind, resource.folder)) != resource.folder:
            elsewhere.append((f"resources.{home}.jobs", kind))
            continue
        names = {"kind": kind, "hooks": " and ".join(dict.fromkeys(found)), "name": resource.name}
        classes.append(render_template("user_worker.py", names))
    needed = ["import logging", "", "from forge_min import jobs"] if classes else []
    needed += [""] * bool(classes and elsewhere) + imports(elsewhere)
    needed += ["", "log = logging.getLogger(__name__)"] if classes else []
    return {
        "imports": "\n".join(needed),
        "classes": "".join(classes) + "\n" * bool(classes),
        "kinds": ", ".join(hooks),
    }
