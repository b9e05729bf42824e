"""The files that are the user's: written once. Each of a resource ends with a mark, by which a file
that was edited is told from one that is only old.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import tomllib
from collections.abc import Mapping

from ..parse.ir import ResourceIR
from .fill import common, fill, imports, read

_MARK = re.compile(r"^# forge: scaffold ([0-9a-f]{16})\n?", re.MULTILINE)


_SIGN_IN = "app.sign_in()  # pages below /account; users: forge-min auth create-user\n"
_MAKE_KEY = "    KEY=$(python -m forge_min auth create-key {} | head -n 1)\n"
_BY_KEY = '-H "Authorization: Bearer $KEY" '
_PERMISSIONS = "".join(
    f'    schema.permission("{operation}", ["{role}"]),\n'
    for operation, role in (
        ("read", "anybody"), ("create", "admin"), ("update", "admin"), ("delete", "admin"),
    )
)  # fmt: skip


def project_files(name: str, *, admin: str = "") -> dict[str, str]:
    """Path below the project → text, of a new project: one resource and one live page. admin: the
    email of one; with pages to sign in at, and a resource that only an admin changes.
    """
    known = tomllib.loads(read("init/files.toml"))
    words = {
        "name": name,
        "sign_in": _SIGN_IN if admin else "",
        "make_key": _MAKE_KEY.format(shlex.quote(admin)) if admin else "",
        "by_key": _BY_KEY if admin else "",
        "permissions": _PERMISSIONS if admin else "",
        "account": '<a href="/account">Account</a> · ' if admin else "",
    }
    return {path: fill(f"init/{file}", words) for path, file in known.items()}


def scaffold_files(resource: ResourceIR, homes: Mapping[str, str]) -> dict[str, str]:
    """Path below the project → text, of the files of a resource that belong to the user.

    homes: job kind → the folder whose jobs.py has its class; the others import it from there.
    """
    folder, names = f"resources/{resource.folder}", common(resource)
    found = {f"{folder}/actions.py": fill("user_actions.py", names)}
    if resource.hooks.all:
        found[f"{folder}/jobs.py"] = fill("user_jobs.py", names | _jobs(resource, homes))
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
        classes.append(fill("user_worker.py", names))
    needed = ["import logging", "", "from forge_min import jobs"] if classes else []
    needed += [""] * bool(classes and elsewhere) + imports(elsewhere)
    needed += ["", "log = logging.getLogger(__name__)"] if classes else []
    return {
        "imports": "\n".join(needed),
        "classes": "".join(classes) + "\n" * bool(classes),
        "kinds": ", ".join(hooks),
    }
