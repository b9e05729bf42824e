"""Valid schema files for hypothesis, and ways to spoil them. No tests."""

from __future__ import annotations

import ast
import keyword
import random
from typing import Any

from forge_min.parse.names import field_problem
from hypothesis import strategies as st

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: field_problem(name, "_id") is None and field_problem(name) is None
)
KINDS = st.from_regex(r"[A-Z][A-Za-z0-9]{0,20}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
FLAGS = ("required", "unique", "index", "sortable")


@st.composite
def options(draw: st.DrawFn, **more: st.SearchStrategy[Any]) -> str:
    """ ", name=value" for a few options."""
    known: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(FLAGS, st.booleans())
    known |= {"label": TEXTS, "help": TEXTS} | more
    chosen = draw(st.lists(st.sampled_from(sorted(known)), unique=True, max_size=4))
    return "".join(f", {name}={draw(known[name])!r}" for name in chosen)


SMALL = st.integers(-1000, 1000)
DECIMALS = st.decimals(-999, 999, places=2, allow_nan=False).map(lambda d: f"{d:f}")
FIELDS = {
    "string": options(searchable=st.booleans(), max_len=st.integers(1, 99), min_len=st.just(0)),
    "text": options(default=TEXTS, searchable=st.booleans()),
    "int": options(default=SMALL, min=st.integers(-5000, -1000), max=st.integers(1000, 5000)),
    "decimal": options(default=DECIMALS | SMALL, precision=st.just((9, 2)) | st.none()),
    "bool": options(default=st.booleans() | st.none()),
    "uuid": options(default=st.uuids().map(str)),
    "date": options(default=st.dates().map(str)),
    "datetime": options(default=st.datetimes(timezones=st.timezones()).map(str)),
}


@st.composite
def field(draw: st.DrawFn, name: str) -> str:
    """A call that makes a field."""
    kind = draw(st.sampled_from([*FIELDS, "enum"]))
    if kind != "enum":
        return f"schema.{kind}({name!r}{draw(FIELDS[kind])})"
    choices = draw(st.lists(TEXTS.filter(bool), min_size=1, max_size=4, unique=True))
    shown: object = tuple(choices) if draw(st.booleans()) else choices
    return f"schema.enum({name!r}, {shown!r}{draw(options(default=st.sampled_from(choices)))})"


@st.composite
def relation(draw: st.DrawFn, name: str) -> str:
    """A call that makes a relation to Thing itself."""
    rule = draw(st.sampled_from(["restrict", "cascade", "set_null"]))
    given_name = draw(st.sampled_from([f", {name!r}", f", name={name!r}"]))
    return f'schema.belongs_to("Thing"{given_name}, on_delete={rule!r})'


@st.composite
def hooks(draw: st.DrawFn) -> str:
    """A call that makes hooks."""
    groups = []
    for hook in draw(st.lists(st.sampled_from(["create", "update", "delete"]), unique=True)):
        jobs = [
            f"schema.JobRef({kind!r}, delay={draw(st.integers(0, 99))})"
            for kind in draw(st.lists(KINDS, max_size=3))
        ]
        groups.append(f"after_{hook}=[{', '.join(jobs)}]")
    return f"schema.with_hooks(schema.Hooks({', '.join(groups)}))"


@st.composite
def schema_files(draw: st.DrawFn) -> str:
    """The text of a valid resources/thing/schema.py."""
    names = draw(st.lists(NAMES, max_size=6, unique=True))
    names = [name for name in names if name + "_id" not in names]
    parts = [draw(field(name) | relation(name)) for name in names]
    parts += draw(st.lists(st.just("schema.timestamps()"), max_size=1))
    parts += draw(st.lists(hooks(), max_size=1))
    plural = draw(st.sampled_from(["", ', plural="stuff"']))
    body = ", ".join(['"Thing"', *draw(st.permutations(parts))])
    return f"from forge_min import schema\nthing = schema.define({body}{plural})\n"


def spoil_text(source: str, seed: int) -> bytes:
    """The file with a few pieces cut, doubled, moved or replaced by bytes of any kind."""
    chance = random.Random(seed)
    data = bytearray(source.encode())
    for _ in range(chance.randint(1, 4)):
        start, length = chance.randrange(len(data) + 1), chance.randint(0, 8)
        piece = chance.choice(
            [
                b"",
                b"(",
                b")",
                b"'",
                b"\\",
                b"\0",
                b"\r",
                b"\x0c",
                b"=",
                b"*",
                b"**",
                b"\xff",
                b"0x" + b"f" * 5000,
                b"\xe2\x80\xa8",
                b"\n    ",
                bytes(data[start : start + 20]),
            ]
        )
        data[start : start + length] = piece
    return bytes(data)


_ATOMS = [
    "x",
    "None",
    "-1",
    "0x" + "f" * 5000,
    "1e999",
    "1j",
    "...",
    "b'x'",
    "f'{x}'",
    "'\\ud800'",
    "'\\0'",
    "'\"; drop table x; --'",
    "[[]]",
    "()",
    "{}",
    "(lambda: 1)",
    "schema.define('Thing')",
    "schema.Hooks()",
    "schema.enum('x', ['a'])",
    "schema.JobRef()",
    "schema.define",
    "*x",
    "(yield)",
    "(x := 1)",
    "not x",
    "[schema.string('x')]",
]


class _Spoiler(ast.NodeTransformer):
    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and self._chance.random() < 0.08:
            return ast.parse(f"f({self._chance.choice(_ATOMS)})", mode="eval").body.args[0]  # type: ignore[attr-defined]
        if isinstance(node, ast.keyword) and self._chance.random() < 0.1:
            node.arg = self._chance.choice([None, "name", "default", "min", "kind", "hooks"])
        return self.generic_visit(node)


def spoil_tree(source: str, seed: int) -> bytes:
    """The file with a few expressions replaced by others."""
    tree = ast.fix_missing_locations(_Spoiler(seed).visit(ast.parse(source)))
    try:
        return ast.unparse(tree).encode("utf-8", "surrogatepass")
    except (ValueError, AttributeError):  # a tree that no text gives
        return source.encode()
