"""The HTML templates, and their words in the current language (`${words.save}`).

setup.py compiles each template to the module of its name when the package is built.
"""

from __future__ import annotations

from ...i18n import text
from ...resources import table

__all__ = ["WORDS", "Words"]

_WORDS: dict[str, str] = table(__package__, "words.toml")


class Words:
    """Each word of words.toml as an attribute, in the current language."""

    def __getattr__(self, name: str) -> str:
        if name not in _WORDS:
            raise AttributeError(name)
        return text(_WORDS[name])


WORDS = Words()
