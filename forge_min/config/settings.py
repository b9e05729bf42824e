"""What a load gives: every value, where it came from, and how it may be shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from .table import KEYS, ConfigKey


class Section(SimpleNamespace):
    """The values of one section, as attributes. Frozen."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"configuration is frozen: {name} cannot be set")


class Config:
    """Every value: `config.server.port` or `config["server.port"]`. Frozen.

    Durations are seconds (float), sizes bytes (int), lists tuples of str, tables read-only
    mappings. env: "development", "test" or "production". values: by "section.key". sources: where
    each key's value is from ("default", "forge.toml:12", a variable, "production"). warnings: what
    the caller should print.
    """

    def __init__(
        self,
        env: str,
        values: Mapping[str, Any],
        sources: Mapping[str, str],
        warnings: Sequence[str],
    ) -> None:
        self.env = env
        self.sources = MappingProxyType(dict(sources))
        self.warnings = tuple(warnings)
        self.values = MappingProxyType(dict(values))
        sections: dict[str, dict[str, object]] = {}
        for name, value in values.items():
            section, _, rest = name.partition(".")
            sections.setdefault(section, {})[rest] = value
        self.__dict__.update((name, Section(**part)) for name, part in sections.items())

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def secrets(self) -> list[ConfigKey]:
        """The keys whose values hold one; not those that got the value of another."""
        found: dict[str, ConfigKey] = {}
        for name, masked in self.masked().items():
            if KEYS[name].secret and masked != self.values[name]:
                found.setdefault(str(self.values[name]), KEYS[name])
        return list(found.values())

    def masked(self) -> dict[str, object]:
        """{"section.key": value} in the table's order, fit for JSON, secrets replaced by ***."""
        return {name: _mask(KEYS[name], value) for name, value in self.values.items()}


def _mask(key: ConfigKey, value: Any) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return {name: "***" if key.secret else item for name, item in value.items()}
    if not key.secret or not value:
        return value
    if key.secret == "all":
        return "***"
    return mask_address(value)


# libpq manual, section 34.1.1. A pattern takes each character once, however hostile the text.
_USERINFO = re.compile(r"\A(\w+://[^:@]*:).*@", re.DOTALL)
_PARAMETER = re.compile(r"([?&])([^?&=]*)=([^&]*)")
_WORD = re.compile(r"(\w++)(\s*+=\s*+)('(?:[^'\\]|\\.)*+'?|(?:[^\s\\]|\\.)++)?|\S++", re.DOTALL)
_ENCODED = re.compile(r"%([0-9a-fA-F]{2})")
_SECRETS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)


def mask_address(address: str) -> str:
    """A URI or keyword string of libpq without its secrets. What libpq could not read of it may be
    one, and is left out, too.
    """
    if not re.match(r"\w+://", address):
        return _WORD.sub(_without_value, address)
    return _PARAMETER.sub(_without_parameter, _USERINFO.sub(r"\1***@", address, count=1))


def _without_parameter(found: re.Match[str]) -> str:
    name = _ENCODED.sub(lambda code: chr(int(code[1], 16)), found[2])
    return f"{found[1]}{found[2]}=***" if _is_secret(name) else found[0]


def _without_value(found: re.Match[str]) -> str:
    if found[1] is None:
        return "***"
    return f"{found[1]}{found[2]}***" if _is_secret(found[1]) else found[0]


def _is_secret(name: str) -> bool:
    return name.strip().lower() in _SECRETS
