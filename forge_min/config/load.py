"""Loads the configuration from defaults, forge.toml and variables, with all errors at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .._compat import REMOVED_KEYS
from ..errors import ConfigError, ErrorGroup, printable
from .settings import Config
from .table import KEYS, TABLE, ConfigKey
from .values import as_toml, preview

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_DEFAULT_FILE = "forge.toml"
_ENVIRONMENTS = ("development", "test", "production")
_PRODUCTION = {"observe.sample_ratio": 0.01, "server.drain_delay": 5.0}  # other defaults there
_SHORTEST_SECRET = 32  # characters: 128 bits as hexadecimal digits
_NEW_SECRET = """make one: python3 -c "import secrets; print(secrets.token_hex(32))\""""
_EVERYWHERE, _LOOPBACK = {"", "0.0.0.0", "::"}, {"localhost", "127.0.0.1", "::1"}
_OTHER_VARIABLES = ("FORGE_IMPL", "FORGE_PURE", "FORGE_ABI3", "FORGE_CONFIG", "FORGE_ENV")
_REMOVED_VARIABLES = {key: f"FORGE_{key.replace('.', '_').upper()}" for key in REMOVED_KEYS}


def load(root: Traversable | None, environ: Mapping[str, str]) -> Config:
    """Load the configuration: defaults < forge.toml < environment.

    root: the project's folder, on disk or inside a zip; None without a file.
    environ: the environment variables. FORGE_CONFIG names a file to read instead.

    Raises one ErrorGroup with a ConfigError for every invalid value (F200), unknown key (F201),
    insecure default in production (F203) and, last, unknown variable (F201), which may be the
    reason for a missing value. Unknown variables by themselves are only warnings. If a file cannot
    be read or parsed (F202), only the variables are checked as well; without another error that
    ConfigError is raised by itself.
    """
    config, errors = inspect(root, environ)
    if len(errors) == 1 and errors[0].code == "F202":
        raise errors[0]
    if errors:
        unknown = [ConfigError(line, code="F201") for line in _unknown_variables(environ)]
        raise ErrorGroup("the configuration cannot be used", [*errors, *unknown])
    return config


def inspect(
    root: Traversable | None, environ: Mapping[str, str]
) -> tuple[Config, Sequence[ConfigError]]:
    """Load as `load` does, but return the errors beside a configuration that always works.

    It has defaults for invalid values. An unreadable file counts as an empty one.
    """
    loading = _Loading(environ)
    try:
        loading.read_file(*_source(root, environ))
    except ConfigError as err:
        loading.errors.append(err)
    loading.read_variables()
    return loading.finish(), loading.errors


def _source(root: Traversable | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the file's name for messages, and its text: "" without a file."""
    variable = environ.get("FORGE_CONFIG")
    name = variable or _DEFAULT_FILE
    path = Path(variable) if variable else root and root / name
    try:
        return name, path.read_text("utf-8") if path else ""
    except Exception as err:  # a damaged zip raises many types of errors
        if isinstance(err, FileNotFoundError) and not variable:
            return name, ""
        raise ConfigError(f"cannot read {name}: {err}", code="F202") from err


class _Loading:
    """One load. It collects every error before it raises."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.errors: list[ConfigError] = []
        self._warnings: list[str] = []
        self._values = {key.name: key.accept(key.default) for key in TABLE}
        self._sources = {key.name: "default" for key in TABLE}
        self._env = environ.get("FORGE_ENV") or "development"
        if self._env not in _ENVIRONMENTS:
            known = ", ".join(_ENVIRONMENTS)
            self._refuse(f"FORGE_ENV must be one of {known}, not {self._env!r}", "F200")
        if self._env == "production":
            self._values |= _PRODUCTION
            self._sources |= dict.fromkeys(_PRODUCTION, "production")

    def finish(self) -> Config:
        """Return the configuration. Values are checked against each other if the file is read."""
        self._derive()
        if self._env == "production":
            self._values["observe.log_format"] = "json"
            self._sources["observe.log_format"] = "production"
        if not any(error.code == "F202" for error in self.errors):
            self._check()
        warnings = [*self._warnings, *_unknown_variables(self._environ)]
        return Config(self._env, self._values, self._sources, warnings)

    def _refuse(self, message: str, code: str, hint: str | None = None) -> None:
        self.errors.append(ConfigError(message, code=code, hint=hint))

    def _refuse_value(self, name: str, why: str, hint: str, code: str = "F200") -> None:
        self._refuse(f"{self._sources[name]}: {name} {why}", code, hint)

    def read_file(self, file: str, text: str) -> None:
        """Read the values of a file. Raises ConfigError F202 if it cannot be parsed."""
        if not text:
            return
        import tomllib  # PERF: saves 4 ms without a file

        text = text.removeprefix("\ufeff")  # the byte order mark of some editors (TOML 1.1)
        try:
            sections = tomllib.loads(text)
        except (ValueError, RecursionError) as err:  # also for more digits than int() takes
            match = re.search(r"\(at line (\d+)", str(err))
            line = match[1] if match else text.count("\n") + 1
            raise ConfigError(f"{file}:{line}: {err}", code="F202") from err
        known = sorted({name.partition(".")[0] for name in KEYS})
        for section, content in sections.items():
            if section not in known or not isinstance(content, dict):
                what, hint = "is not a section", _suggestion(section, known)
                if section in known:
                    what = "must be a section"
                    hint = f"write [{section}], and its keys on the lines below"
                self._refuse(f"{file}:{_line_of(text, section)}: {section!r} {what}", "F201", hint)
                continue
            keys = [n.partition(".")[2] for n in KEYS if n.startswith(section + ".")]
            for name, raw in content.items():
                where = f"{file}:{_line_of(text, section, name)}"
                if name in keys:
                    self._put(KEYS[f"{section}.{name}"], raw, where)
                elif f"{section}.{name}" in REMOVED_KEYS:
                    self._warn_of_removed(f"{section}.{name}", where)
                else:
                    message = f"{where}: {section!r} has no key {name!r}"
                    self._refuse(message, "F201", _suggestion(name, keys))

    def read_variables(self) -> None:
        """Read the environment variables, which override the file."""
        for old, variable in _REMOVED_VARIABLES.items():
            if variable in self._environ:
                self._warn_of_removed(old, variable)
        for key in TABLE:
            for variable in (key.variable, *key.aliases):
                if variable in self._environ:
                    self._put(key, as_toml(key.type, self._environ[variable]), variable)
                    break

    def _warn_of_removed(self, old: str, where: str) -> None:
        self._warnings.append(f"{where}: {old} has no effect any more; remove it")

    def _put(self, key: ConfigKey, raw: object, where: str) -> None:
        try:
            self._values[key.name] = key.accept(raw)
            self._sources[key.name] = where
        except ValueError as err:
            value = "this value" if key.secret else preview(raw)
            hint = f"the default is {json.dumps(key.default)}"
            self._refuse(f"{where}: {key.name} must be {err}, not {value}", "F200", hint)

    def _derive(self) -> None:
        """Set the values that default to another value."""
        values, url = self._values, str(self._values["database.url"])
        direct = "database.direct_url" if values["database.direct_url"] else "database.url"
        role_of = "database.url" if _user(url) else "project.name"
        for name, origin, value in (
            ("database.direct_url", "database.url", url),
            ("database.migrate_url", direct, values[direct]),
            ("database.app_role", role_of, _user(url) or _role(str(values["project.name"]))),
            ("observe.service_name", "project.name", values["project.name"]),
        ):
            if not values[name]:
                values[name] = value
                if self._sources[name] == "default":
                    self._sources[name] = self._sources[origin]

    def _check(self) -> None:
        """Check values against each other."""
        values, url = self._values, str(self._values["database.url"])
        if _user(url) not in ("", values["database.app_role"]):
            hint = "leave app_role out, or correct the URL"
            self._refuse_value("database.app_role", "must be the user of database.url", hint)
        self._check_ports()
        beat, after = values["jobs.heartbeat"], values["jobs.rescue_after"]
        if after <= beat:  # a living worker would count as dead between two heartbeats
            is_default = self._sources["jobs.rescue_after"] == "default"
            where = self._sources["jobs.heartbeat" if is_default else "jobs.rescue_after"]
            message = f"{where}: jobs.rescue_after must be longer than jobs.heartbeat, {beat:g} s"
            hint = "else jobs of living workers would run twice; set it several times as long"
            self._refuse(f"{message}, not {after:g} s", "F200", hint)
        if self._env == "production":
            self._check_production(url)

    def _check_ports(self) -> None:
        values, port = self._values, self._values["server.port"]
        hosts = {values["server.host"], values["admin.host"]}
        shared = len(hosts) == 1 or hosts & _EVERYWHERE or hosts <= _LOOPBACK
        if not values["admin.enabled"] or values["server.unix_socket"] or not shared or not port:
            return
        if port == values["admin.port"]:
            hint = "give one of them another number, or 0 for any"
            why = f"must differ from server.port, which is {port}, too"
            self._refuse_value("admin.port", why, hint)

    def _check_production(self, url: str) -> None:
        values = self._values
        if not url:
            hint = "set FORGE_DATABASE_URL; only development has an embedded database"
            self._refuse("database.url is required in production", "F203", hint)
        if not values["auth.secret"]:
            self._refuse("auth.secret is required in production", "F203", _NEW_SECRET)
        elif len(values["auth.secret"]) < _SHORTEST_SECRET:
            why = f"has fewer than {_SHORTEST_SECRET} characters"
            self._refuse_value("auth.secret", why, _NEW_SECRET, "F203")
        if "*" in values["api.cors_origins"]:
            why = "must not be '*' in production"
            self._refuse_value("api.cors_origins", why, "name the origins", "F203")
        if values["mail.url"] and not (values["mail.from"] and values["project.url"]):
            hint = "set FORGE_MAIL_FROM, and FORGE_PROJECT_URL for links in messages"
            self._refuse("mail.url needs mail.from and project.url in production", "F203", hint)
        if values["tenancy.strategy"] == "subdomain" and not values["tenancy.domain"]:
            hint = "set FORGE_TENANCY_DOMAIN to the domain that follows the tenants' names"
            self._refuse("tenancy.domain is required in production", "F203", hint)


def _line_of(text: str, section: str, name: str | None = None) -> int:
    """Return the line that sets a key, else the first of its section. For messages only."""
    wanted = [section] if name is None else [section, name]
    current: list[str] = []
    first = 0
    for number, line in enumerate(text.split("\n"), 1):  # no other character ends a line in TOML
        code = line.partition("#")[0]
        header = re.match(r"\s*\[+([^\]]*)\]", code)
        if not header and "=" not in code:
            continue
        words = re.findall(r"[\w-]+", header[1] if header else code.partition("=")[0])
        path = words if header else current + words
        if path[: len(wanted)] == wanted:
            return number
        current = words if header else current
        first = first or number * (path[:1] == [section])
    return first or 1


def _closest(name: str, known: list[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(name, known, 1)


def _suggestion(name: str, known: list[str]) -> str | None:
    close = _closest(name, known)
    return f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(known)}"


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = [v for key in TABLE for v in (key.variable, *key.aliases)] + [*_OTHER_VARIABLES]
    known += _REMOVED_VARIABLES.values()
    ours = [name for name in sorted(environ) if name.startswith("FORGE_")]
    for name in ours:
        if name not in known and not name.startswith("FORGE_REQUIRE_"):
            close = _closest(name[6:], [v.removeprefix("FORGE_") for v in known])
            meant = f": did you mean FORGE_{close[0]}?" if close else ""
            yield f"{printable(name)} is not known{meant}"


def _user(url: str) -> str:
    """Return the user of a libpq URI or keyword string; "" without one.

    The user is before the @, or in user= (PostgreSQL manual, section 34.1.1).
    """
    if not re.match(r"postgres(ql)?://", url):
        parts = dict(re.findall(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)*)", url))
        user = parts.get("user", "")
        return re.sub(r"\\(.)", r"\1", user[1:-1] if user.startswith("'") else user)
    match = re.search(r"[?&]user=([^&]+)", url) or re.match(r"\w+://([^:/@?]+)(:[^@]*)?@", url)
    if not match or "%" not in match[1]:
        return match[1] if match else ""
    from urllib.parse import unquote  # PERF: saves 3 ms in most processes

    return unquote(match[1])


def _role(project: str) -> str:
    return re.sub(r"\W", "_", project.lower(), flags=re.ASCII)[:59] + "_app"
