"""The artifact's main: `departures.pyz serve|worker|migrate|import|export|config|version`.

Each command loads what it needs, so that `serve` binds its ports before the slow imports (psycopg)
and `version` needs neither. No module of MAKE is loaded here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from .ops.door import run
from .ops.project import Project, load_project

_ON_ERROR = "a wrong line undoes all (stop, the default), or only itself (skip)"
_UPDATE = "update the row that has the same FIELD, which is unique"
_FORMAT = "default: as FILE's name says, else jsonl"
_WHERE = "NAME=VALUE, a filter as in a list's URL: 'price[gte]=10'"


def main(argv: Sequence[str] | None = None, *, prog: str | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong use."""
    arguments = parser(prog).parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.run
    return run(lambda: command(arguments), verbose=arguments.verbose)


def parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The argparse tree of the operating commands."""
    top = argparse.ArgumentParser(
        prog=prog,
        description="Runs this application.",
        epilog="example: FORGE_DATABASE_URL=postgresql://… %(prog)s serve",
    )
    top.add_argument("-v", "--verbose", action="store_true", help="tracebacks of defects")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, run: Callable[[argparse.Namespace], int], help: str, example: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=help, description=help, epilog=f"example: %(prog)s {example}"
        )
        command.set_defaults(run=run)
        return command

    serve = add("serve", _serve, "answer requests, and work jobs", "--no-jobs")
    serve.add_argument("--processes", type=int, help="server.processes for this run")
    serve.add_argument("--no-jobs", action="store_true", help="another process works the jobs")
    worker = add("worker", _worker, "work jobs", "--queues default=10,mail=2")
    worker.add_argument("--queues", help="queue=threads,… in place of jobs.queues")
    migrate = add("migrate", _migrate, "bring the database's tables up to date", "up")
    migrate.add_argument("direction", choices=["up", "down", "status"])
    migrate.add_argument("--steps", type=_count, default=1, help="files to undo (down)")
    load = add("import", _import, "create rows from JSON lines or CSV", "airports rows.jsonl")
    save = add("export", _export, "write rows as JSON lines or CSV", "airports -o airports.csv")
    for command in (load, save):
        command.add_argument("resource", help="the resource's topic, such as airports")
        command.add_argument("--tenant", type=UUID, help="whose rows, where they have a tenant")
        command.add_argument("--as-role", action="append", default=[], help="as who has this role")
    load.add_argument("file", type=Path, help="NAME.csv with a header, else JSON lines")
    load.add_argument("--on-error", choices=["stop", "skip"], default="stop", help=_ON_ERROR)
    load.add_argument("--update", default="", metavar="FIELD", help=_UPDATE)
    save.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: stdout")
    save.add_argument("--format", choices=["jsonl", "csv"], default="", help=_FORMAT)
    save.add_argument("--json", action="store_const", const="jsonl", dest="format", help="jsonl")
    save.add_argument("--where", type=_pair, action="append", default=[], help=_WHERE)
    save.add_argument("--sort", help="the order: --sort=-price,title")
    save.add_argument("--all-fields", action="store_true", help="what only some roles see, too")
    config = add("config", _config, "the configuration, secrets masked", "--sources")
    config.add_argument("--sources", action="store_true", help="where each value comes from")
    version = add("version", _version, "what runs here", "--json")
    for command in (migrate, load, config, version):
        command.add_argument("--json", action="store_true", help="the answer as JSON")
    return top


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


def _serve(arguments: argparse.Namespace) -> int:
    from .ops.development import with_database
    from .ops.serve import serve

    with with_database(load_project()) as project:
        return serve(project, processes=arguments.processes, jobs=not arguments.no_jobs)


def _worker(arguments: argparse.Namespace) -> int:
    from .ops.development import with_database
    from .ops.serve import work

    with with_database(load_project()) as project:
        return work(project, queues=arguments.queues)


def _migrate(arguments: argparse.Namespace) -> int:
    from .ops import migrate
    from .ops.development import with_database

    with with_database(load_project(), migrated=False) as project:
        if arguments.direction == "down":
            return migrate.down(project, arguments.steps, as_json=arguments.json)
        command = migrate.up if arguments.direction == "up" else migrate.status
        return command(project, as_json=arguments.json)


def _import(arguments: argparse.Namespace) -> int:
    from .auth import Identity
    from .ops.development import with_database
    from .ops.transfer import import_file

    a, roles = arguments, frozenset(arguments.as_role)
    who = Identity("operator", roles, a.tenant, system=not roles)
    skip = a.on_error == "skip"
    with with_database(load_project()) as project:
        return import_file(project, a.resource, a.file, who, skip, a.update, a.json)


def _export(arguments: argparse.Namespace) -> int:
    from .auth import Identity
    from .ops.development import with_database
    from .ops.export import export_rows

    a = arguments
    who = Identity("operator", frozenset(a.as_role), a.tenant, system=a.all_fields)
    query: dict[str, list[str]] = {"sort": [a.sort]} if a.sort else {}
    for name, value in a.where:
        query.setdefault(name, []).append(value)
    with with_database(load_project()) as project:
        return export_rows(project, a.resource, a.output, a.format, query, who)


def _config(arguments: argparse.Namespace) -> int:
    from .ops.show import show_config

    return show_config(load_project(), sources=arguments.sources, as_json=arguments.json)


def _version(arguments: argparse.Namespace) -> int:
    from .ops.show import show_version

    return show_version(_build(), as_json=arguments.json)


def _build() -> dict[str, object]:
    """build-info.json, where this is an artifact; a broken configuration must not hide the
    version.
    """
    try:
        return dict(load_project({}).build)
    except Exception:
        return {}


if __name__ == "__main__":
    sys.exit(main())

__all__ = ["Project", "main", "parser"]
