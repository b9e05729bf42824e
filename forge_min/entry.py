"""The artifact's main: `departures.pyz serve|worker|migrate|import|export|config|doctor|version`.

Each command loads only its own modules, so that `serve` binds its ports before the slow imports
(psycopg) and `version` needs neither. No module of MAKE is loaded. A module that is loaded inside a
function may be damaged in an artifact: then the damage is reported instead of Python's error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ForgeError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


Row = Mapping[str, Any]
Run = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage.

    Raises SystemExit if the artifact is damaged.
    """
    with _damage_reported():
        return run_command(parser(), argv)


def run_command(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Parse the arguments, run their command inside the error boundary and return the exit code.

    Raises SystemExit if the artifact is damaged.
    """
    from .ops import run

    try:
        arguments = parser.parse_args(argv)
    except SystemExit as end:  # argparse has printed the help, or the error
        code = int(end.code or 0)
        return run(lambda: code)
    return run(lambda: _run(arguments), verbose=arguments.verbose)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.no_color:
        os.environ["NO_COLOR"] = "1"
    with _damage_reported():
        return int(arguments.run(arguments))


@contextmanager
def _damage_reported() -> Iterator[None]:
    """Turn errors without a code into SystemExit with D201 if the artifact is damaged."""
    try:
        yield
    except (ForgeError, BrokenPipeError):
        raise
    except Exception as err:
        names = _damaged(Path(__file__).parents[1])
        if not names:
            raise
        message = f"error[D201]: the artifact is not as it was built: {names[0]}"
        if len(names) > 1:
            message += f" and {len(names) - 1} more"
        hint = "copy it again, and compare it with the build: sha256sum -c SHA256SUMS"
        raise SystemExit(f"{message}\nhint: {hint}") from err


def _damaged(root: Path) -> list[str]:
    """Return the members that cannot be read or differ from the manifest.

    root: an artifact, or any folder of packages, which has no manifest.
    """
    from .manifest import NAME, damage

    if not root.is_file() and not (root / NAME).is_file():
        return []
    _, differences = damage(root)
    return sorted(name for name, state in differences.items() if state != "added")


def application() -> WSGIApplication:
    """Return the started application of the importable project, for another PEP 3333 server.

    It runs no jobs and has no admin server. Raises as `Project.start`.
    """
    from .ops import load_project

    return load_project().start(serving=True).application


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of the operating commands."""
    top = argparse.ArgumentParser(
        description="Runs this application.",
        epilog="example: FORGE_DATABASE_URL=postgresql://… %(prog)s serve",
    )
    top.add_argument("-v", "--verbose", action="store_true", help="tracebacks of defects")
    top.set_defaults(checks={}, command=f"python3 {sys.argv[0]}", no_color=False)
    add_commands(top, operating(), RUNS, {})
    return top


def operating() -> Mapping[str, Row]:
    """Return the rows of the operating commands, for `add_commands`."""
    from .resources import table

    return table(__package__, "entry.toml")


def add_commands(
    top: argparse.ArgumentParser,
    rows: Mapping[str, Row],
    runs: Mapping[str, Run],
    everywhere: Mapping[str, Any],
) -> None:
    """Declare the commands of a table such as entry.toml.

    rows: by command, such as "migrate up".
    runs: their functions.
    everywhere: options that `top` has, too. They may stand before or behind a command's name;
    behind wins.
    """
    groups = {"": top.add_subparsers(metavar="COMMAND", required=True)}
    for words, row in rows.items():
        above, _, name = words.rpartition(" ")
        about = row["help"]
        examples = row.get("example", "")
        if isinstance(examples, str):
            examples = [examples]
        lines = [f"example: %(prog)s {example}".rstrip() for example in examples]
        command = groups[above].add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog="\n".join(lines),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            allow_abbrev=False,
        )
        command.add_argument("-h", "--help", action=_Help, help="this help")
        command.set_defaults(run=runs.get(words), words=words)
        if everywhere:
            group = command.add_argument_group("everywhere")
            declare(group, everywhere, default=argparse.SUPPRESS)
        options = row.get("options", {})
        declare(command, {key: options[key] for key in options if key not in everywhere})
        if "either" in row:  # argparse refuses to show an empty group
            declare(command.add_mutually_exclusive_group(), row["either"])
        if "things" in row:
            groups[words] = command.add_subparsers(
                metavar=row["things"], required=words not in runs
            )


def declare(group: argparse._ActionsContainer, options: Mapping[str, Any], **more: Any) -> None:
    """Declare options of a table: either the help of a flag, or argparse's own keywords."""
    for names, keywords in options.items():
        if isinstance(keywords, str):
            keywords = {"action": "store_true", "help": keywords}
        if "type" in keywords:
            keywords = keywords | {"type": _TYPES[keywords["type"]]}
        group.add_argument(*names.split(), **keywords, **more)


class _Help(argparse._HelpAction):
    """Print only the examples of the preceding argument, such as `jobs retry --help`, if any."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *rest: object
    ) -> None:
        values = vars(namespace).values()
        examples = (parser.epilog or "").splitlines()
        of_argument = []
        for example in examples:
            words = example.split()
            if len(words) > 2 and words[2] in values:
                of_argument.append(example)
        parser.epilog = "\n".join(of_argument or examples)
        parser.print_help()
        parser.exit()


def _count(text: str) -> int:
    """Parse a number from 1. argparse turns the ValueError into wrong usage."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _pair(text: str) -> tuple[str, str]:
    """Parse NAME=VALUE. argparse turns the ValueError into wrong usage."""
    name, value = text.split("=", 1)
    return name, value


def _with_database(module: str, name: str, *, migrated: bool = True) -> Run:
    """Return a command, run on the project and its migrated database.

    module, name: of its function in `ops`.
    migrated: apply pending migrations to an embedded database first.
    """

    def run(arguments: argparse.Namespace) -> int:
        from .ops import with_database

        with with_database(migrated=migrated) as project:
            command = getattr(import_module(f".ops.{module}", __package__), name)
            return int(command(project, arguments))

    return run


def _config(arguments: argparse.Namespace) -> int:
    from .ops import load_config, print_result, warn

    config = load_config()
    values = config.masked()
    lines = []
    for key, value in values.items():
        line = f"{key} = {json.dumps(value, default=str)}"
        if arguments.sources:
            source = config.sources[key]
            line = f"{line:60}  # {source}"
            values[key] = {"value": value, "source": source}
        lines.append(line)
    print_result(values, lines, as_json=arguments.json)
    for warning in config.warnings:
        warn(warning)
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from . import doctor
    from .ops import inspect_project, print_result

    sys.dont_write_bytecode = True  # doctor changes no files
    env = os.environ.get("FORGE_ENV") or "development"
    profile: doctor.Profile = "prod" if env == "production" else "dev"
    if arguments.profile:
        profile = arguments.profile
    fields = inspect_project(production=profile == "prod")
    site = doctor.Site(profile, env, **fields, hosts=max(1, arguments.hosts))
    findings = doctor.check_environment(site)
    for code, check in arguments.checks.items():
        findings += doctor.run_check(code, check)
    try:
        from . import db  # noqa: F401  (first: a missing libpq gets its error)
        from .doctor import database
    except Exception as err:  # psycopg, libpq or the core is missing
        message = doctor.format_error(err)
        findings.append(doctor.new_finding("D104", "failed", message))
    else:
        findings += database.check_services(site)
    report = doctor.DoctorReport(
        findings, profile, strict=arguments.strict, command=arguments.command
    )
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print_result(report.document(), report.lines(colour=colour), as_json=arguments.json)
    return 0 if report.good else 1


def _manual(arguments: argparse.Namespace) -> int:
    from .ops import load_project, print_result

    written = load_project().manual().write(arguments.output)
    files = [str(path) for path in written]
    print_result({"files": files}, [f"wrote {file}" for file in files], as_json=arguments.json)
    return 0


def _version(arguments: argparse.Namespace) -> int:
    from platform import python_version

    from . import __version__, fanout
    from .ops import load_project, print_result

    try:
        build = dict(load_project({}).build)
    except Exception:  # a broken configuration must not hide the version
        build = {}
    facts = {"forge_min": __version__, "python": python_version(), "core": fanout.IMPL}
    for name in ("name", "version", "commit", "date"):
        if name in build:
            facts[name] = build[name]
    lines = [f"{name}: {fact}" for name, fact in facts.items()]
    print_result(facts, lines, as_json=arguments.json)
    return 0


RUNS: Mapping[str, Run] = {
    "serve": _with_database("serve", "serve_site"),
    "worker": _with_database("serve", "work_jobs"),
    "migrate up": _with_database("migrate", "migrate_up", migrated=False),
    "migrate down": _with_database("migrate", "migrate_down", migrated=False),
    "migrate status": _with_database("migrate", "migration_status", migrated=False),
    "import": _with_database("rows", "import_file"),
    "export": _with_database("rows", "export_rows"),
    "jobs": _with_database("jobs", "manage_jobs"),
    "auth": _with_database("auth", "manage_accounts"),
    "config": _config,
    "manual": _manual,
    "doctor": _doctor,
    "version": _version,
}
_TYPES = {"int": int, "count": _count, "path": Path, "pair": _pair}

__all__ = ["RUNS", "add_commands", "declare", "main", "operating", "parser", "run_command"]
