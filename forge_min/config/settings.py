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
            section, _, key = name.partition(".")
            sections.setdefault(section, {})[key] = value
        for name, section_values in sections.items():
            setattr(self, name, Section(**section_values))

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def secrets(self) -> list[ConfigKey]:
        """Return the keys with secret values, without those that took the value of another key."""
        keys: dict[str, ConfigKey] = {}
        for name, value in self.values.items():
            plain = list(value) if isinstance(value, tuple) else value
            if KEYS[name].secret and _mask(KEYS[name], value) != plain:
                keys.setdefault(str(value), KEYS[name])
        return list(keys.values())

    def masked(self) -> dict[str, object]:
        """Return {"section.key": value} in the table's order, as JSON values.

        Secrets are replaced by ***.
        """
        return {name: _mask(KEYS[name], value) for name, value in self.values.items()}


def _mask(key: ConfigKey, value: Any) -> object:
    if isinstance(value, Mapping):
        return dict.fromkeys(value, "***") if key.secret else dict(value)
    if isinstance(value, tuple):
        value = list(value)
    if not key.secret or not value:
        return value
    if isinstance(value, list):
        return [mask_address(address) for address in value]
    if key.secret == "all":
        return "***"
    return mask_address(value)


# libpq manual, section 34.1.1. Each pattern reads each character once, also of hostile texts.
_USERINFO = re.compile(r"\A(\w+://[^:@]*:).*@", re.DOTALL)
_PARAMETER = re.compile(r"(?P<kept>[?&](?P<name>[^?&=]*)=)[^&]*")
_WORD = re.compile(
    r"(?s)(?P<kept>(?P<name>\w++)\s*+=\s*+)('(?:[^'\\]|\\.)*+'?|(?:[^\s\\]|\\.)++)?|\S++"
)
_SECRETS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)


def mask_address(address: str) -> str:
    """Return a URI or keyword string of libpq without its secrets.

    Parts that libpq could not read may be secrets, and are masked, too.
    """
    if not re.match(r"\w+://", address):
        return _WORD.sub(_without_secret, address)
    return _PARAMETER.sub(_without_secret, _USERINFO.sub(r"\1***@", address, count=1))


def _without_secret(match: re.Match[str]) -> str:
    if match["name"] is None:
        return "***"
    name = match["name"].strip().lower()
    is_secret = name in _SECRETS or "%" in name  # an encoded name may be any name
    return f"{match['kept']}***" if is_secret else match[0]
