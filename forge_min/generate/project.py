"""Writes a project's files: gen/ as a whole, and the user's files once.

The user's files of a resource end with a mark, which shows whether a file was edited or is stale.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import BuildError, UsageError
from ..pages import compile_pages, library_page
from ..parse import ResourceIR
from ..resources import table
from .render import render
from .resource import HOOKS
from .templating import common, imports, render_template
from .tree import TreeChanges, scaffold, write_tree

VIEWS = ("list", "show", "form", "delete")
ACCOUNT_VIEWS = {"account_sign_in": "sign_in", "account_password": "password", "account": "account"}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def generate(root: Path, resources: Sequence[ResourceIR], *, check: bool = False) -> TreeChanges:
    """Write gen/ below `root` for all `resources` and pages.

    check: compare, and write nothing.
    Raises BuildError F002, F001 and F360 as `write_tree`, ErrorGroup with the mistakes in pages.
    """
    ordered = sorted(resources, key=lambda resource: resource.folder)
    pages = compile_pages(root)
    return write_tree(root / "gen", render(ordered, _views(root, ordered)) | pages, check=check)


def scaffold_resource(
    root: Path, *chosen: ResourceIR, known: Sequence[ResourceIR] = (), overwrite: bool = False
) -> list[str]:
    """Write the user's files of the `chosen` resources that do not exist; return their paths.

    known: all resources of the project, if they are more than the `chosen`: the class of a job
        kind that several of them name is in one file.
    overwrite: also replace the files that exist.
    """
    files = _fresh(root, chosen, known)
    if overwrite:
        files = {path: text for path, text in files.items() if _text(root / path) != text}
    return scaffold(root, files, overwrite=overwrite)


def scaffold_views(root: Path, resource: ResourceIR, *, overwrite: bool = False) -> list[str]:
    """Copy the library's pages of a resource into its views, and return the written paths.

    The copies replace the library's pages. overwrite: also replace the files that exist.
    """
    files = {}
    for name in VIEWS:
        page = f"{name}.html"
        files[f"resources/{resource.folder}/views/{page}"] = library_page(page) or ""
    return scaffold(root, files, overwrite=overwrite)


def compare_scaffold(
    root: Path, *chosen: ResourceIR, known: Sequence[ResourceIR] = ()
) -> tuple[dict[str, str], str]:
    """Return the state of each scaffolded file of the `chosen` by path, and a unified diff.

    The states are those of `state`; the diff leads to the files of a new scaffold. Raises
    BuildError F307 for a file that is not text.
    """
    states = {}
    changes: list[str] = []
    for path, fresh in _fresh(root, chosen, known).items():
        present = _text(root / path)
        states[path] = state(present, fresh)
        before = (present or "").splitlines(True)
        after = fresh.splitlines(True)
        changes += difflib.unified_diff(before, after, path, f"{path} (fresh)")
    return states, "".join(changes)


def _views(root: Path, resources: Sequence[ResourceIR]) -> dict[str, str]:
    """Return the modules of gen/pages by the names of the library's pages that they replace."""
    views = {
        name: name
        for name in ("layout", *ACCOUNT_VIEWS)
        if (root / "views" / f"{name}.html").is_file()
    }
    for resource in resources:
        folder = root / "resources" / resource.folder / "views"
        for name in VIEWS:
            if (folder / f"{name}.html").is_file():
                views[f"{resource.table}.{name}"] = f"{resource.folder}_{name}"
    return views


def _fresh(root: Path, chosen: Sequence[ResourceIR], known: Sequence[ResourceIR]) -> dict[str, str]:
    homes = _homes(root, known or chosen)
    files: dict[str, str] = {}
    for resource in chosen:
        files |= scaffold_files(resource, homes)
    return files


def _text(path: Path) -> str | None:
    """Return the text of a file, None without one. Raises BuildError F307."""
    try:
        if path.is_file():
            return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as err:
        raise BuildError(f"{path} cannot be read as text: {err}", code="F307") from err
    return None


def _homes(root: Path, resources: Sequence[ResourceIR]) -> dict[str, str]:
    """Return the folder of each job kind: the one with its class, else the first that names it."""
    with_class: dict[str, str] = {}
    with_hook: dict[str, str] = {}
    for resource in sorted(resources, key=lambda resource: resource.folder):
        kinds = {job.kind for job in resource.hooks.all}
        if not kinds:
            continue
        code = _text(root / "resources" / resource.folder / "jobs.py") or ""
        for kind in kinds:
            with_hook.setdefault(kind, resource.folder)
            if re.search(rf"^class {kind}\b", code, re.MULTILINE):
                with_class.setdefault(kind, resource.folder)
    return with_hook | with_class


def scaffold_project(path: Path, name: str, *, admin: str = "") -> list[str]:
    """Write the files of a new project with one resource and one live page; return their paths.

    admin: an admin's email, to have pages to sign in and a resource that only an admin changes.
    Raises UsageError as `check_new`.
    """
    check_new(path, name)
    templates = table(__package__, "templates/init/files.toml")
    email = shlex.quote(admin)
    values = {"name": name}
    for key, text in table(__package__, "templates/init/sign_in.toml").items():
        values[key] = text.format(email) if admin else ""
    files = {target: render_template(f"init/{file}", values) for target, file in templates.items()}
    if admin:
        for view, page in ACCOUNT_VIEWS.items():
            files[f"views/{view}.html"] = library_page(f"{page}.html") or ""
    return scaffold(path, files)


def check_new(path: Path, name: str) -> None:
    """Raise UsageError F010 unless a project of this name can start in `path`.

    The folder may be missing or empty, and not a broken link.
    """
    if not _NAME.fullmatch(name):
        hint = "use a-z, 0-9, _ and -: for example shop"
        raise UsageError(f"{name!r} is not a valid name of a project", hint=hint)
    exists = path.exists() or path.is_symlink()  # files of a broken link would be elsewhere
    if exists and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists and is not empty", hint="choose another name")


_LOGGING = """\
import logging

from forge_min import jobs{}

log = logging.getLogger(__name__)"""
_MARK = re.compile(r"^# forge: scaffold ([0-9a-f]{16})\n?", re.MULTILINE)


def scaffold_files(resource: ResourceIR, homes: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of the user's files of a resource, by path below the project.

    homes: the folder of the jobs.py with the class, by job kind; other folders import it.
    """
    names = common(resource)
    texts = {"actions.py": render_template("user_actions.py", names)}
    if resource.hooks.all:
        texts["jobs.py"] = render_template("user_jobs.py", names | _jobs(resource, homes))
    files = {}
    for file, text in texts.items():
        path = f"resources/{resource.folder}/{file}"
        files[path] = f"{text}# forge: scaffold {_hash(text)}\n"
    return files


def state(present: str | None, fresh: str) -> str:
    """Return the state of a scaffolded file.

    "missing", "as scaffolded", "edited", "stale" (unedited, but a new scaffold differs) or "edited
    and stale". A file without a mark is compared with a new scaffold.

    present: its text, None without a file.
    fresh: its text in a new scaffold, from `scaffold_files`.
    """
    if present is None:
        return "missing"
    (current,) = _MARK.findall(fresh)
    mark = _MARK.search(present)
    recorded = mark[1] if mark else current
    states = []
    if _hash(_MARK.sub("", present)) != recorded:
        states.append("edited")
    if recorded != current:
        states.append("stale")
    return " and ".join(states) or "as scaffolded"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _jobs(resource: ResourceIR, homes: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the template user_jobs.py."""
    hooks: dict[str, dict[str, None]] = {}  # by kind; the values are ordered sets
    for hook in HOOKS:
        for job in getattr(resource.hooks, hook):
            hooks.setdefault(job.kind, {})[hook] = None
    classes = ""
    elsewhere = []
    for kind, names in hooks.items():
        home = homes.get(kind, resource.folder)
        if home == resource.folder:
            values = {"kind": kind, "hooks": " and ".join(names), "name": resource.name}
            classes += render_template("user_worker.py", values)
        else:
            elsewhere.append((f"resources.{home}.jobs", kind))
    head = "\n".join(imports(elsewhere))
    if classes:
        classes += "\n"
        if head:
            head = f"\n\n{head}"
        head = _LOGGING.format(head)
    return {"imports": head, "classes": classes, "kinds": ", ".join(hooks)}
