"""Whatever the user's strings hold, generated code is the same code: they stay inside literals."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator

import pytest
from forge_min.parse import ResourceIR
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ..parse.helpers import parse, parse_parts
from ..parse.strategies import schema_files, spoil_text, spoil_tree
from .helpers import rendered

SCHEMA = """\
from forge_min import schema

thing = schema.define(
    "Thing",
    schema.string("name", default={0!r}, pattern={1!r}, label={2!r}, placeholder={3!r}, help={4!r}),
    schema.text("body", default={5!r}, help={6!r}),
    schema.enum("state", [{7!r}, "other"], required=True, label={8!r}, searchable=True),
    schema.enum("turn", ("a", {9!r}), default={9!r}, unique=True, required=True),
    schema.json("anything", placeholder={3!r}, help={6!r}),
    schema.belongs_to("Thing", name="next", label={10!r}, help={11!r}),
)
"""
COUNT = 12
NASTY = ['"', "'", '"""', "\\", "\n", "\r\n", "${name}", "$$", "{n}", "%(id)s", "%", "#", "\u2028"]
NASTY += [
    "*/",
    "--",
    ";",
    "\t",
    "\x01",
    "\x7f",
    "\x85",
    "é",
    "😀",
    "import os",
    "')",
    '"))',
    "\\N{DASH}",
]
texts = st.lists(st.sampled_from(NASTY) | st.text(max_size=3), min_size=1, max_size=6).map("".join)
texts = texts.filter(lambda text: "\0" not in text and text.isascii() | _is_text(text))


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def thing(values: list[str]) -> ResourceIR:
    filled = list(values)
    filled[1] = re.escape(values[0])  # the default has to match
    if not _is_pattern(filled[1]):
        filled[0], filled[1] = "plain", "plain"
    parsed = parse(thing=SCHEMA.format(*filled))
    assert parsed.diagnostics == (), parsed.diagnostics[0].format()
    return parsed.resources[0]


def _is_pattern(pattern: str) -> bool:
    """Escapes that ECMAScript does not have are refused in a pattern."""
    return parse_parts(f'schema.string("x", pattern={pattern!r})').diagnostics == ()


class _Blank(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) else node


def shape(source: str) -> str:
    """The code without what its strings hold."""
    return ast.dump(_Blank().visit(ast.parse(source)))


def outside_of_strings(source: str) -> str:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return " ".join(token.string for token in tokens if token.type != tokenize.STRING)


PLAIN = rendered([thing([f"word{n}" for n in range(COUNT)])])


@given(st.lists(texts, min_size=COUNT, max_size=COUNT))
@example(['"""' + "${name}\n\\"] * COUNT)
@settings(max_examples=60, deadline=None)
def test_strings_of_the_user_never_leave_their_literals(values: list[str]) -> None:
    values = [f"{value}{n}" for n, value in enumerate(values)]
    files = rendered([thing(values)])
    assert files.keys() == PLAIN.keys()
    for path, text in files.items():
        if path.endswith(".py"):
            assert shape(text) == shape(PLAIN[path]), path
            assert outside_of_strings(text) == outside_of_strings(PLAIN[path]), path
        elif path.endswith(".json"):
            schemas = json.loads(text)["components"]["schemas"]
            assert schemas["Thing"]["properties"]["state"]["enum"][0] == values[7]
            assert schemas["ThingInput"]["properties"]["next_id"]["title"] == values[10]
    assert files["thing/sql.py"] == PLAIN["thing/sql.py"]
    assert values[7] in set(strings(files["thing/resource.py"]))


def strings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.thorough
@given(schema_files(), st.integers(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_mutated_schema_gives_diagnostics_or_clean_code(
    source: str, seed: int, text: bool
) -> None:
    spoilt = spoil_text(source, seed) if text else spoil_tree(source, seed)
    parsed = parse(thing=spoilt)
    assert parsed.diagnostics or parsed.resources
    for path, made in rendered(parsed.resources).items():
        made.encode()
        if path.endswith(".py"):
            compile(made, path, "exec", dont_inherit=True)
        elif path.endswith(".json"):
            json.loads(made)
