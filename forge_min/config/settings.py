"""A loaded configuration: every value, its source, and its masked form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from .table import KEYS, ConfigKey


class Section(SimpleNamespace):
    """The values of one section, as attributes. Frozen."""

    __repr__ = object.__repr__  # SAFETY: without the values, which may be secrets

    def __setattr__(self, name: str, value: object = None) -> None:
        raise AttributeError(f"configuration is frozen: {name} cannot be set")

    __delattr__ = __setattr__


class Config:
    """Every value: `config.server.port` or `config["server.port"]`. Frozen.

    Durations are seconds (float), sizes bytes (int), lists tuples of str, tables read-only
    mappings.

    env: "development", "test" or "production".
    values: by "section.key".
    sources: where each key's value comes from: "default", "forge.toml:12", a variable,
    "production".
    warnings: lines that the caller should print.
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
        """Return the keys with secret values, without those that took the value of another key."""
        keys: dict[str, ConfigKey] = {}
        for name, masked in self.masked().items():
            if KEYS[name].secret and masked != self.values[name]:
                keys.setdefault(str(self.values[name]), KEYS[name])
        return list(keys.values())

    def masked(self) -> dict[str, object]:
        """Return {"section.key": value} in the table's order, as JSON values.

        Secrets are replaced by ***.
        """
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


# libpq manual, section 34.1.1. Each pattern reads each character once, also of hostile texts.
_USERINFO = re.compile(r"\A(\w+://[^:@]*:).*@", re.DOTALL)
_PARAMETER = re.compile(r"([?&])([^?&=]*)=([^&]*)")
_WORD = re.compile(r"(\w++)(\s*+=\s*+)('(?:[^'\\]|\\.)*+'?|(?:[^\s\\]|\\.)++)?|\S++", re.DOTALL)
_ENCODED = re.compile(r"%([0-9a-fA-F]{2})")
_SECRETS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)


def mask_address(address: str) -> str:
    """Return a URI or keyword string of libpq without its secrets.

    Parts that libpq could not read may be secrets, and are masked, too.
    """
    if not re.match(r"\w+://", address):
        return _WORD.sub(_without_value, address)
    return _PARAMETER.sub(_without_parameter, _USERINFO.sub(r"\1***@", address, count=1))


def _without_parameter(match: re.Match[str]) -> str:
    name = _ENCODED.sub(lambda code: chr(int(code[1], 16)), match[2])
    return f"{match[1]}{match[2]}=***" if _is_secret(name) else match[0]


def _without_value(match: re.Match[str]) -> str:
    if match[1] is None:
        return "***"
    return f"{match[1]}{match[2]}***" if _is_secret(match[1]) else match[0]


def _is_secret(name: str) -> bool:
    return name.strip().lower() in _SECRETS
