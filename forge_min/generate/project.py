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
from .templating import common, imports, render_template
from .tree import TreeChanges, scaffold, write_tree

VIEWS = ("list", "show", "form", "delete")
ACCOUNT_VIEWS = {"account_sign_in": "sign_in", "account_password": "password", "account": "account"}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def generate(root: Path, resources: Sequence[ResourceIR], *, check: bool = False) -> TreeChanges:
    """Write gen/ below `root` for all `resources` and pages.

    check: compare, and write nothing.
    Raises BuildError F301, F302 and F304 as `write_tree`, ErrorGroup with the mistakes in pages.
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
    fresh = _fresh(root, chosen, known)
    if overwrite:
        fresh = {path: text for path, text in fresh.items() if _text(root / path) != text}
    return scaffold(root, fresh, overwrite=overwrite)


def scaffold_views(root: Path, resource: ResourceIR, *, overwrite: bool = False) -> list[str]:
    """Copy the library's pages of a resource into its views, and return the written paths.

    The copies replace the library's pages. overwrite: also replace the files that exist.
    """
    folder = f"resources/{resource.folder}/views"
    fresh = {f"{folder}/{name}.html": library_page(f"{name}.html") or "" for name in VIEWS}
    return scaffold(root, fresh, overwrite=overwrite)


def compare_scaffold(
    root: Path, *chosen: ResourceIR, known: Sequence[ResourceIR] = ()
) -> tuple[dict[str, str], str]:
    """Return the state of each scaffolded file of the `chosen` by path, and a unified diff.

    The states are those of `state`; the diff leads to the files of a new scaffold. Raises
    BuildError F307 for a file that is not text.
    """
    states, changes = {}, ""
    for path, fresh in _fresh(root, chosen, known).items():
        present = _text(root / path)
        states[path] = state(present, fresh)
        lines = ((present or "").splitlines(True), fresh.splitlines(True))
        changes += "".join(difflib.unified_diff(*lines, path, f"{path} (fresh)"))
    return states, changes


def _views(root: Path, resources: Sequence[ResourceIR]) -> dict[str, str]:
    """Return the modules of gen/pages by the names of the library's pages that they replace."""
    own = ("layout", *ACCOUNT_VIEWS)
    views = {name: name for name in own if (root / "views" / f"{name}.html").is_file()}
    for r in resources:
        for name in VIEWS:
            if (root / "resources" / r.folder / "views" / f"{name}.html").is_file():
                views[f"{r.table}.{name}"] = f"{r.folder}_{name}"
    return views


def _fresh(root: Path, chosen: Sequence[ResourceIR], known: Sequence[ResourceIR]) -> dict[str, str]:
    homes = _homes(root, known or chosen)
    return {path: text for r in chosen for path, text in scaffold_files(r, homes).items()}


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode() if path.is_file() else None
    except (OSError, UnicodeDecodeError) as err:
        raise BuildError(f"{path} cannot be read as text: {err}", code="F307") from err


def _homes(root: Path, resources: Sequence[ResourceIR]) -> dict[str, str]:
    """Return the folder of each job kind: the one with its class, else the first that names it."""
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
    """Write the files of a new project with one resource and one live page; return their paths.

    admin: an admin's email, to have pages to sign in and a resource that only an admin changes.
    Raises UsageError as `check_new`.
    """
    check_new(path, name)
    templates = table(__package__, "templates/init/files.toml")
    email = shlex.quote(admin)
    texts = table(__package__, "templates/init/sign_in.toml").items()
    values = {key: text.format(email) if admin else "" for key, text in texts}
    values["name"] = name
    files = {target: render_template(f"init/{file}", values) for target, file in templates.items()}
    for own, library in ACCOUNT_VIEWS.items() if admin else ():
        files[f"views/{own}.html"] = library_page(f"{library}.html") or ""
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


_MARK = re.compile(r"^# forge: scaffold ([0-9a-f]{16})\n?", re.MULTILINE)


def scaffold_files(resource: ResourceIR, homes: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of the user's files of a resource, by path below the project.

    homes: the folder of the jobs.py with the class, by job kind; other folders import it.
    """
    folder, names = f"resources/{resource.folder}", common(resource)
    texts = {f"{folder}/actions.py": render_template("user_actions.py", names)}
    if resource.hooks.all:
        texts[f"{folder}/jobs.py"] = render_template("user_jobs.py", names | _jobs(resource, homes))
    return {path: f"{text}# forge: scaffold {_hash(text)}\n" for path, text in texts.items()}


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
    recorded = next(iter(_MARK.findall(present)), current)
    edited, stale = _hash(_MARK.sub("", present)) != recorded, recorded != current
    return " and ".join(["edited"] * edited + ["stale"] * stale) or "as scaffolded"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _jobs(resource: ResourceIR, homes: Mapping[str, str]) -> dict[str, str]:
    hooks: dict[str, list[str]] = {}
    for hook in ("after_create", "after_update", "after_delete"):
        for job in getattr(resource.hooks, hook):
            hooks.setdefault(job.kind, []).append(hook)
    classes, elsewhere = [], []
    for kind, used_by in hooks.items():
        if (home := homes.get(kind, resource.folder)) != resource.folder:
            elsewhere.append((f"resources.{home}.jobs", kind))
            continue
        names = {"kind": kind, "hooks": " and ".join(dict.fromkeys(used_by)), "name": resource.name}
        classes.append(render_template("user_worker.py", names))
    head = ["import logging", "", "from forge_min import jobs"] if classes else []
    head += [""] * bool(classes and elsewhere) + imports(elsewhere)
    head += ["", "log = logging.getLogger(__name__)"] if classes else []
    return {
        "imports": "\n".join(head),
        "classes": "".join(classes) + "\n" * bool(classes),
        "kinds": ", ".join(hooks),
    }
