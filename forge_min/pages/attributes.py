"""The attributes in which a value may stand; no other one takes any."""

from __future__ import annotations

import re

# Text to every browser. Left out on purpose: style, srcdoc, srcset, ping, what svg animates.
_TEXT = re.compile(
    r"""abbr|accept|alt|autocomplete|class|cols|colspan|content|cx|cy|d|datetime|dir|download|fill|
    for|form|headers|height|hidden|id|inputmode|label|lang|list|max|maxlength|media|method|min|
    minlength|name|pattern|placeholder|points|r|rel|role|rows|rowspan|rx|ry|scope|size|span|start|
    step|stroke|tabindex|target|title|transform|type|value|viewbox|width|wrap|x|x1|x2|y|y1|y2""",
    re.X,
)
URLS = frozenset({"action", "formaction", "href", "poster", "src"})
# What these load is run, or moves every other URL.
_LOADERS = frozenset({"base", "embed", "object", "script"})
# What Datastar evaluates, where a page opts in to it.
_EVALUATED = re.compile(
    r"data-(on|signals|computed|effect|init|text|show|class|attr|style|bind)(?![a-z0-9])"
)
# After this no value can choose a URL's scheme or host.
SETTLED = re.compile(
    r"https?://[a-zA-Z0-9.-]+(:[0-9]+)?[/?#]|mailto:|tel:"
    r"|/[a-zA-Z0-9_.~-]|[a-zA-Z0-9_.~-]+[/?#]|[?#]"
)
# The same of what follows a checked value that begins a URL, up to its end. That value may be
# empty, so no "//" here, nor what could hide one: white space, "&", the next value ("\ud800").
FOLLOWS = re.compile(r"/(?:[^/\\&\x00-\x20\ud800]|\Z)|[a-zA-Z0-9_.~-]+(?:[/?#]|\Z)|[?#]|\Z")


def takes_values(tag: str, attribute: str) -> bool:
    """Whether a value of a user may stand in this attribute. Both names in lower case."""
    if attribute in URLS:
        return tag not in _LOADERS
    if attribute.startswith(("aria-", "data-")):
        return not _EVALUATED.match(attribute)
    return _TEXT.fullmatch(attribute) is not None
