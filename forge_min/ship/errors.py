"""What ship refuses: the BuildErrors of messages.toml, each with its code and its next step."""

from __future__ import annotations

import tomllib

from ..errors import BuildError
from ..resources import files

_MESSAGES = tomllib.loads(files(__package__).joinpath("messages.toml").read_text("utf-8"))


def build_error(entry: str, /, **words: object) -> BuildError:
    """The error of an entry of messages.toml, its words filled in."""
    code, message, hint = (text.format(**words) for text in _MESSAGES[entry])
    return BuildError(message, code=code, hint=hint)
