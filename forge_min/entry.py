"""The artifact's main: `departures.pyz serve|worker|migrate|import|export|config|doctor|version`.

Each command loads what it needs, so that `serve` binds its ports before the slow imports (psycopg)
and `version` needs neither. No module of MAKE is loaded here. What is loaded inside a function may
be damaged in an artifact: then that is said, not where Python stumbled over it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ForgeError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from .doctor import Finding
    from .ops.project import Project

Run = Callable[[argparse.Namespace], int]
Operate = Callable[["Project", argparse.Namespace], int]


def main(
    argv: Sequence[str] | None = None,
    *,
    prog: str | None = None,
    checks: Mapping[str, Callable[[], Iterable[Finding]]] | None = None,
) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong use.

    checks: more of them for doctor, by their codes: of what only a project's folder has. Raises
    SystemExit for wrong use, and where the artifact is damaged.
    """
    with _damage_told():
        from .ops.door import run

        arguments = parser(prog).parse_args(argv)
        arguments.checks, arguments.command = checks or {}, prog or _started()
        return run(lambda: _run(arguments), verbose=arguments.verbose)


def _run(arguments: argparse.Namespace) -> int:
    with _damage_told():
        return int(arguments.run(arguments))


@contextmanager
def _damage_told() -> Iterator[None]:
    """Whatever is raised that has no code of its own: SystemExit with D201 where the artifact is
    not as it was built.
    """
    try:
        yield
    except (ForgeError, BrokenPipeError):
        raise
    except Exception as err:
        if not (names := _damaged(Path(__file__).parents[1])):
            raise
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise SystemExit(
            f"error[D201]: the artifact is not as it was built: {names[0]}{more}\n"
            "hint: copy it anew, and compare it with the build: sha256sum -c SHA256SUMS"
        ) from err


def _damaged(root: Path) -> list[str]:
    """Members that cannot be read, or differ from the manifest. root: an artifact, or any folder of
    packages, which has none.
    """
    from .manifest import NAME, damage

    if not root.is_file() and not (root / NAME).is_file():
        return []
    return sorted(name for name, what in damage(root)[1].items() if what != "added")


def application() -> WSGIApplication:
    """The project that can be imported here, started, for another PEP 3333 server. No jobs are
    worked, and there is no admin server. Raises as `Project.start`.
    """
    from .ops.project import load_project

    return load_project().start(serving=True).application


def parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The argparse tree of the operating commands."""
    from .data import table

    top = argparse.ArgumentParser(
        prog=prog,
        description="Runs this application.",
        epilog="example: FORGE_DATABASE_URL=postgresql://… %(prog)s serve",
    )
    top.add_argument("-v", "--verbose", action="store_true", help="tracebacks of defects")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name, row in table(__package__, "entry.toml").items():
        told = [row["example"]] if isinstance(row["example"], str) else row["example"]
        command = commands.add_parser(
            name,
            help=row["help"],
            description=row["help"],
            epilog="\n".join(f"example: %(prog)s {words}" for words in told),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
        )
        command.add_argument("-h", "--help", action=_Help, help="this help")
        command.set_defaults(run=_RUNS[name])
        for names, how in row["options"].items():
            keywords = {"action": "store_true", "help": how} if isinstance(how, str) else how
            if "type" in keywords:
                keywords["type"] = _TYPES[keywords["type"]]
            command.add_argument(*names.split(), **keywords)
    return top


class _Help(argparse._HelpAction):
    """Of several examples that of the word before it: `jobs retry --help`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        *rest: object,
    ) -> None:
        given = vars(namespace).values()
        told = (parser.epilog or "").splitlines()
        parser.epilog = "\n".join([line for line in told if line.split()[2] in given] or told)
        parser.print_help()
        parser.exit()


def _started() -> str:
    """How a person starts this: "python3 dist/shop.pyz"."""
    return f"python3 {sys.argv[0]}"


def _count(text: str) -> int:
    """A number of things, from 1. argparse turns the ValueError into wrong use."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _pair(text: str) -> tuple[str, str]:
    """NAME=VALUE. argparse turns the ValueError into wrong use."""
    name, value = text.split("=", 1)
    return name, value


def _with_database(command: Operate, *, migrated: bool = True) -> Run:
    """The command on the project and its database, brought up to date if `migrated`."""

    def run(arguments: argparse.Namespace) -> int:
        from .ops.project import with_database

        with with_database(migrated=migrated) as project:
            return command(project, arguments)

    return run


def _serve(project: Project, arguments: argparse.Namespace) -> int:
    from .ops.serve import serve

    return serve(project, processes=arguments.processes, jobs=not arguments.no_jobs)


def _worker(project: Project, arguments: argparse.Namespace) -> int:
    from .ops.serve import work

    return work(project, queues=arguments.queues)


def _migrate(project: Project, arguments: argparse.Namespace) -> int:
    from .ops import migrate

    if arguments.direction == "down":
        return migrate.down(project, arguments.steps, as_json=arguments.json)
    command = migrate.up if arguments.direction == "up" else migrate.status
    return command(project, as_json=arguments.json)


def _import(project: Project, arguments: argparse.Namespace) -> int:
    from .auth import Identity
    from .ops.rows import import_file, tenant_id

    a, roles = arguments, frozenset(arguments.as_role)
    who = Identity("operator", roles, tenant_id(project, a.tenant), system=not roles)
    return import_file(project, a.resource, a.file, who, a.on_error == "skip", a.update, a.json)


def _export(project: Project, arguments: argparse.Namespace) -> int:
    from .auth import Identity
    from .ops.rows import export_rows, tenant_id

    a, roles = arguments, frozenset(arguments.as_role)
    query: dict[str, list[str]] = {"sort": [a.sort]} if a.sort else {}
    for name, value in a.where:
        query.setdefault(name, []).append(value)
    who = Identity("operator", roles, tenant_id(project, a.tenant), system=a.all_fields)
    return export_rows(project, a.resource, a.output, a.format, query, who)


def _jobs(project: Project, arguments: argparse.Namespace) -> int:
    from .ops.jobs import jobs

    return jobs(project, arguments)


def _auth(project: Project, arguments: argparse.Namespace) -> int:
    from .ops.auth import auth

    return auth(project, arguments)


def _config(arguments: argparse.Namespace) -> int:
    from .ops.door import DONE, tell, warn
    from .ops.project import load_config

    config = load_config()
    values, known = config.masked(), config.sources
    lines = {key: f"{key} = {json.dumps(value, default=str)}" for key, value in values.items()}
    if arguments.sources:
        lines = {key: f"{line:60}  # {known[key]}" for key, line in lines.items()}
        values = {key: {"value": v, "source": known[key]} for key, v in values.items()}
    tell(values, lines.values(), as_json=arguments.json)
    for warning in config.warnings:
        warn(warning)
    return DONE


def _doctor(arguments: argparse.Namespace) -> int:
    from . import doctor
    from .ops.door import DONE, FAILED, tell
    from .ops.inspection import inspect_project

    sys.dont_write_bytecode = True  # what is looked at stays as it is
    env = os.environ.get("FORGE_ENV") or "development"
    profile: doctor.Profile = arguments.profile or ("prod" if env == "production" else "dev")
    seen = inspect_project(production=profile == "prod")
    site = doctor.Site(
        profile, env, seen.config.values, seen.config.sources, seen.mistakes,
        seen.config.warnings, seen.root, seen.artifact, seen.native, seen.build, seen.code,
    )  # fmt: skip
    found = doctor.check_alone(site)
    for code, check in arguments.checks.items():
        found += doctor.attempt(code, check)
    try:
        from . import db  # noqa: F401  (first: a missing libpq gets its error)
        from .doctor.services import check_services
    except Exception as err:  # psycopg, libpq or the core is missing
        found.append(doctor.broken("D104", err))
    else:
        found += check_services(site)
    report = doctor.Report(found, profile, strict=arguments.strict, command=arguments.command)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    tell(report.document(), report.lines(colour=colour), as_json=arguments.json)
    return DONE if report.good else FAILED


def _version(arguments: argparse.Namespace) -> int:
    from platform import python_version

    from . import __version__, fanout
    from .ops.door import DONE, tell
    from .ops.project import load_project

    try:
        build = dict(load_project({}).build)
    except Exception:  # a broken configuration must not hide the version
        build = {}
    facts = {"forge_min": __version__, "python": python_version(), "core": fanout.IMPL}
    facts |= {k: build[k] for k in ("name", "version", "commit", "date") if k in build}
    tell(facts, (f"{name}: {fact}" for name, fact in facts.items()), as_json=arguments.json)
    return DONE


_RUNS = {
    "serve": _with_database(_serve),
    "worker": _with_database(_worker),
    "migrate": _with_database(_migrate, migrated=False),
    "import": _with_database(_import),
    "export": _with_database(_export),
    "jobs": _with_database(_jobs),
    "auth": _with_database(_auth),
    "config": _config,
    "doctor": _doctor,
    "version": _version,
}
_TYPES = {"int": int, "count": _count, "path": Path, "pair": _pair}

if __name__ == "__main__":
    sys.exit(main())

__all__ = ["main", "parser"]
