"""Loads the configuration from defaults, forge.toml and variables, with all errors at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
_EVERYWHERE = {"", "0.0.0.0", "::"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
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
        file, text = _source(root, environ)
        loading.read_file(file, text)
    except ConfigError as err:
        loading.errors.append(err)
    loading.read_variables()
    return loading.finish(), loading.errors


def _source(root: Traversable | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the file's name for messages, and its text: "" without a file."""
    variable = environ.get("FORGE_CONFIG")
    name = variable or _DEFAULT_FILE
    folder = Path() if variable else root
    if folder is None:
        return name, ""
    try:
        # Some editors write a byte order mark, which TOML 1.1 permits.
        return name, (folder / name).read_text("utf-8-sig")
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
            choices = ", ".join(_ENVIRONMENTS)
            self._refuse(f"FORGE_ENV must be one of {choices}, not {self._env!r}", "F200")
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
        known_sections = sorted({name.partition(".")[0] for name in KEYS})
        for section, content in _parse(file, text).items():
            position = f"{file}:{_line_of(text, section)}"
            if section not in known_sections:
                hint = _suggestion(section, known_sections)
                self._refuse(f"{position}: {section!r} is not a section", "F201", hint)
            elif not isinstance(content, dict):
                hint = f"write [{section}], and its keys on the lines below"
                self._refuse(f"{position}: {section!r} must be a section", "F201", hint)
            else:
                for name, raw in content.items():
                    self._read_key(section, name, raw, f"{file}:{_line_of(text, section, name)}")

    def _read_key(self, section: str, name: str, raw: object, position: str) -> None:
        full_name = f"{section}.{name}"
        prefix = f"{section}."
        keys = [key.removeprefix(prefix) for key in KEYS if key.startswith(prefix)]
        if name in keys:
            self._put(KEYS[full_name], raw, position)
        elif full_name in REMOVED_KEYS:
            self._warn_of_removed(full_name, position)
        else:
            message = f"{position}: {section!r} has no key {name!r}"
            self._refuse(message, "F201", _suggestion(name, keys))

    def read_variables(self) -> None:
        """Read the environment variables, which override the file."""
        for key, variable in _REMOVED_VARIABLES.items():
            if variable in self._environ:
                self._warn_of_removed(key, variable)
        for row in TABLE:
            for variable in (row.variable, *row.aliases):
                if variable in self._environ:
                    value = as_toml(row.type, self._environ[variable])
                    self._put(row, value, variable)
                    break

    def _warn_of_removed(self, key: str, source: str) -> None:
        self._warnings.append(f"{source}: {key} has no effect any more; remove it")

    def _put(self, key: ConfigKey, raw: object, source: str) -> None:
        try:
            self._values[key.name] = key.accept(raw)
            self._sources[key.name] = source
        except ValueError as err:
            value = "this value" if key.secret else preview(raw)
            hint = f"the default is {json.dumps(key.default)}"
            self._refuse(f"{source}: {key.name} must be {err}, not {value}", "F200", hint)

    def _derive(self) -> None:
        """Set the values that default to another value."""
        values = self._values
        url = values["database.url"]
        migrate_origin = "database.url"
        if values["database.direct_url"]:
            migrate_origin = "database.direct_url"
        self._set_default("database.direct_url", "database.url", url)
        self._set_default("database.migrate_url", migrate_origin, values[migrate_origin])
        user = _user(url)
        project = values["project.name"]
        if user:
            self._set_default("database.app_role", "database.url", user)
        else:
            role = re.sub(r"\W", "_", project.lower(), flags=re.ASCII)[:59] + "_app"
            self._set_default("database.app_role", "project.name", role)
        self._set_default("observe.service_name", "project.name", project)

    def _set_default(self, name: str, origin: str, value: object) -> None:
        """Set a value that is empty. origin: the key from which the value is derived."""
        if self._values[name]:
            return
        self._values[name] = value
        if self._sources[name] == "default":
            self._sources[name] = self._sources[origin]

    def _check(self) -> None:
        """Check values against each other."""
        values = self._values
        url = values["database.url"]
        if _user(url) not in ("", values["database.app_role"]):
            hint = "leave app_role out, or correct the URL"
            self._refuse_value("database.app_role", "must be the user of database.url", hint)
        self._check_ports()
        heartbeat = values["jobs.heartbeat"]
        rescue_after = values["jobs.rescue_after"]
        if rescue_after <= heartbeat:  # a living worker would count as dead between two heartbeats
            source = self._sources["jobs.rescue_after"]
            if source == "default":
                source = self._sources["jobs.heartbeat"]
            message = f"{source}: jobs.rescue_after must be longer than jobs.heartbeat"
            hint = "else jobs of living workers would run twice; set it several times as long"
            self._refuse(f"{message}, {heartbeat:g} s, not {rescue_after:g} s", "F200", hint)
        if self._env == "production":
            self._check_production(url)

    def _check_ports(self) -> None:
        values = self._values
        if not values["admin.enabled"] or values["server.unix_socket"]:
            return
        hosts = {values["server.host"], values["admin.host"]}
        is_shared = len(hosts) == 1 or hosts & _EVERYWHERE or hosts <= _LOOPBACK
        port = values["server.port"]
        if is_shared and port and port == values["admin.port"]:
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


def _parse(file: str, text: str) -> dict[str, Any]:
    import tomllib  # PERF: saves 4 ms without a file

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as err:  # also for more digits than int() takes
        match = re.search(r"\(at line (\d+)", str(err))
        line = match[1] if match else text.count("\n") + 1
        raise ConfigError(f"{file}:{line}: {err}", code="F202") from err


def _line_of(text: str, *target: str) -> int:
    """Return the line that sets a key, else the first of its section. For messages only.

    target: a section, or a section and a key.
    """
    table = []
    section_line = None
    for number, line in enumerate(text.split("\n"), 1):  # no other character ends a line in TOML
        code = line.partition("#")[0]
        header = re.match(r"\s*\[+([^\]]*)\]", code)
        if header:
            table = path = _words(header[1])
        elif "=" in code:
            path = table + _words(code.partition("=")[0])
        else:
            continue
        if path[: len(target)] == [*target]:
            return number
        if section_line is None and path[:1] == [target[0]]:
            section_line = number
    return section_line or 1


def _words(code: str) -> list[str]:
    return re.findall(r"[\w-]+", code)


def _closest(name: str, choices: list[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(name, choices, 1)


def _suggestion(name: str, choices: list[str]) -> str:
    close = _closest(name, choices)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"use one of {', '.join(choices)}"


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = [*_OTHER_VARIABLES, *_REMOVED_VARIABLES.values()]
    for key in TABLE:
        known += [key.variable, *key.aliases]
    for name in sorted(environ):
        if not name.startswith("FORGE_") or name.startswith("FORGE_REQUIRE_") or name in known:
            continue
        message = f"{printable(name)} is not known"
        close = _closest(name[6:], [variable.removeprefix("FORGE_") for variable in known])
        if close:
            message += f": did you mean FORGE_{close[0]}?"
        yield message


def _user(url: str) -> str:
    """Return the user of a libpq URI or keyword string; "" without one.

    The user is before the @, or in user= (PostgreSQL manual, section 34.1.1).
    """
    if not re.match(r"postgres(ql)?://", url):
        keywords = dict(re.findall(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)*)", url))
        user = keywords.get("user", "")
        if user.startswith("'"):
            user = user[1:-1]
        return re.sub(r"\\(.)", r"\1", user)
    match = re.search(r"[?&]user=([^&]+)", url) or re.match(r"\w+://([^:/@?]+)(:[^@]*)?@", url)
    if not match:
        return ""
    user = match[1]
    if "%" not in user:
        return user
    from urllib.parse import unquote  # PERF: saves 3 ms in most processes

    return unquote(user)
