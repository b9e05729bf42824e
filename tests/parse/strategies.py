"""Valid schema files for hypothesis, and ways to spoil them. No tests."""

from __future__ import annotations

import ast
import datetime
import keyword
import random
from typing import Any

from forge_min.parse.names import LIST_PARAMETERS, field_problem
from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]
HEAD = "from forge_min import schema\n"
# Names that the files below give to relations, or that relations derive from names.
_DERIVED = {"thing", "things", "other", "others"} | LIST_PARAMETERS
NAMES = st.one_of(
    st.sampled_from(["class", "self", "from", "select", "order", "int", "str", "x" * 55]),
    # No "s" at the end: of two relations a and as, both would have the field a_ids.
    st.from_regex(r"[a-z]([a-z0-9_]{0,19}[a-rt-z0-9_])?", fullmatch=True),
).filter(
    lambda name: (
        field_problem(name, "_id") is None
        and field_problem(name) is None
        and name not in _DERIVED
        and not name.endswith(("_id", "_ids", "_"))
    )
)
KINDS = st.from_regex(r"[A-Z][A-Za-z0-9]{0,20}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
WORDS = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
ROLES = st.lists(WORDS, min_size=1, max_size=3) | st.tuples(WORDS)
SMALL = st.integers(-1000, 1000)
DECIMALS = st.decimals(-999, 999, places=2, allow_nan=False).map(lambda d: f"{d:f}")
MOMENTS = st.datetimes(
    min_value=datetime.datetime(2, 1, 1),
    max_value=datetime.datetime(9998, 1, 1),
    timezones=st.integers(-14, 14).map(
        lambda hours: datetime.timezone(datetime.timedelta(hours=hours))
    ),
)
PATTERNS = {  # and a text that matches
    "[A-Z]{2}[0-9]*": "AB1",
    r"^(?:[^\s']+|\d+?)$": "x",
    "a|b": "a",
    r"\$\{x\}.*": "${x}\N{SNOWMAN}",
    r"[\]\-\\]{1,3}": "]-",
}

MEMBER = {
    "personal": st.booleans(),
    "required": st.booleans(),
    "immutable": st.booleans(),
    "label": TEXTS,
    "help": TEXTS,
}
MEMBER |= {"visible_to": ROLES | st.none(), "writable_by": ROLES | st.none()}
FIELD = MEMBER | {"placeholder": TEXTS}
COLUMN = FIELD | dict.fromkeys(
    ("unique", "index", "sortable", "filterable", "aggregatable"), st.booleans()
)
SEARCH = COLUMN | {"searchable": st.booleans()}
LONG = SEARCH | {"searchable": st.booleans() | st.just("substring")}
LONG |= {"min_len": st.integers(0, 2), "max_len": st.integers(30, 99) | st.none()}
TEXT = LONG | {"default": TEXTS, "pattern": st.sampled_from(sorted(PATTERNS)) | st.none()}
RANGE = COLUMN | {"min": st.integers(-5000, -1000), "max": st.integers(1000, 5000)}
KEY_TYPES = ("uuid", "string", "slug", "int", "bigint")
TYPES: dict[str, dict[str, Strategy]] = {
    "string": TEXT,
    "text": TEXT,
    "slug": LONG | {"default": st.just("a-b-c")},
    "email": LONG | {"default": st.just("me+you@example.org")},
    "url": LONG | {"default": st.just("https://example.org/?a=b#c")},
    "int": RANGE | {"default": SMALL},
    "bigint": RANGE | {"default": SMALL, "max": st.integers(1000, (1 << 63) - 1)},
    "decimal": RANGE
    | {
        "min": st.sampled_from([-5000, -1000.25, -2000.0]),
        "default": DECIMALS | SMALL,
        "precision": st.just((9, 2)) | st.none(),
    },
    "bool": COLUMN | {"default": st.booleans() | st.none()},
    "uuid": COLUMN | {"default": st.uuids().map(str)},
    "float": RANGE
    | {"min": st.floats(-5000, -1000), "default": st.floats(-999, 999) | SMALL | st.none()},
    "date": COLUMN
    | {
        "min": st.sampled_from(["0001-01-01", "today-999y"]),
        "max": st.sampled_from(["9999-12-31", "today", "today+30d"]),
        "default": st.dates(datetime.date(1900, 1, 1), datetime.date(2020, 1, 1)).map(str),
    },
    "datetime": COLUMN
    | {"min": st.sampled_from(["0001-01-03T00:00:00Z", "now-2h"]), "default": MOMENTS.map(str)},
    "time": COLUMN | {"max": st.just("23:59:59.999999"), "default": st.times().map(str)},
    "duration": COLUMN | {"min": st.just("PT0S"), "default": st.sampled_from(["P2W", "PT1.5S"])},
    "array": FIELD | {"max_items": st.integers(1, 1000), "filterable": st.booleans()},
    "enum": SEARCH | {"default": st.just("a")},
    "json": FIELD,
}


@st.composite
def options(draw: st.DrawFn, known: dict[str, Strategy], key: bool = False) -> str:
    """ ", name=value" for a few options that go together."""
    chosen = draw(st.lists(st.sampled_from(sorted(known)), unique=True, max_size=6))
    values = {name: draw(known[name]) for name in chosen}
    clash: tuple[str, ...] = ()
    if values.get("searchable") == "substring":
        values["filterable"] = True
    if key:
        values["primary_key"] = True
        clash = ("default", "visible_to", "writable_by", "aggregatable")
    elif values.get("visible_to"):
        clash = ("searchable", "sortable", "filterable", "aggregatable")
    if values.get("pattern") and "default" in values:
        values["default"] = PATTERNS[values["pattern"]]
        clash += ("min_len",)
    elif "default" in values and "pattern" in known:
        clash += ("min_len",)
    return "".join(f", {name}={values[name]!r}" for name in values if name not in clash)


@st.composite
def field(draw: st.DrawFn, name: str, key: bool = False) -> str:
    """A call that makes a field."""
    kind = draw(st.sampled_from(KEY_TYPES if key else sorted(TYPES)))
    choices = ""
    if kind == "enum":
        texts = ["a", *draw(st.lists(TEXTS.filter(lambda t: t not in ("", "a")), unique=True))]
        choices = f", {draw(st.sampled_from([texts, tuple(texts)]))!r}"
    elif kind == "array":
        choices = draw(st.sampled_from([", 'string'", ", of='int'", ", 'enum', choices=['a']"]))
    return f"schema.{kind}({name!r}{choices}{draw(options(TYPES[kind], key))})"


@st.composite
def relation(draw: st.DrawFn, name: str, target: str = "Thing") -> str:
    """A call that makes a belongs_to."""
    rule = draw(st.sampled_from(["restrict", "cascade", "set_null"]))
    given_name = draw(st.sampled_from([f", {name!r}", f", name={name!r}"]))
    known = MEMBER | {"unique": st.booleans(), "aggregatable": st.booleans()}
    if rule == "set_null":
        del known["required"]
    return f"schema.belongs_to({target!r}{given_name}, on_delete={rule!r}{draw(options(known))})"


@st.composite
def members(draw: st.DrawFn) -> list[str]:
    """Fields and relations of Thing to itself."""
    names = draw(st.lists(NAMES, max_size=6, unique=True))
    parts = []
    for at, name in enumerate(names):
        if at == 0 and draw(st.booleans()):
            parts.append(draw(field(name, key=True)))
            continue
        kind = draw(st.sampled_from(["field", "field", "field", "belongs_to", "many_to_many"]))
        if kind == "many_to_many":
            table = draw(st.sampled_from(["", f", table='{name[:40]}_links'"]))
            parts.append(f"schema.many_to_many('Thing', {name!r}{table})")
        else:
            parts.append(draw(field(name) if kind == "field" else relation(name)))
            if kind == "belongs_to" and draw(st.booleans()):
                has = draw(st.sampled_from(["has_many", "has_one"]))
                parts.append(f"schema.{has}('Thing', {name + '_back'!r}, via={name!r})")
    return parts


@st.composite
def hooks(draw: st.DrawFn) -> str:
    """A call that makes hooks."""
    known: dict[str, Strategy] = {"queue": WORDS, "priority": st.integers(1, 4)}
    known |= {"max_attempts": st.integers(1, 99) | st.none(), "delay": st.integers(0, 99)}
    known |= {"unique": st.booleans()}
    groups = []
    for hook in draw(st.lists(st.sampled_from(["create", "update", "delete"]), unique=True)):
        jobs = [
            f"schema.JobRef({kind!r}{draw(options(known))})"
            for kind in draw(st.lists(KINDS, max_size=3))
        ]
        groups.append(f"after_{hook}=[{', '.join(jobs)}]")
    return f"schema.with_hooks(schema.Hooks({', '.join(groups)}))"


@st.composite
def permissions(draw: st.DrawFn) -> list[str]:
    """Calls that give permissions, at most one for an operation."""
    known = ["read", "create", "update", "delete", "restore", "approve", "ship_now"]
    chosen = draw(st.lists(st.sampled_from(known), unique=True, max_size=3))
    return [f"schema.permission({name!r}, {draw(ROLES)!r})" for name in chosen]


SEVERAL = (
    "schema.states('phase_', 'a', {'a': {'go': 'b'}, 'b': {'back_': 'a'}}, not_by='created_by')",
    "schema.states('step_', initial='x', transitions={'x': {'end_': 'y'}, 'y': {}}, label='L')",
    "schema.unique('id', 'version')",
    "schema.unique('version', 'id', message='no')",
    "schema.index('-version', 'id', where='version > 1 or id is None')",
    "schema.check('version > 1 and id is not None', 'no')",
    "schema.check('not (version in [1, 2] or version * 2 < 1.5)', message='no')",
)


@st.composite
def reports(draw: st.DrawFn) -> list[str]:
    """A field and, perhaps, a report of it."""
    measures = draw(st.sampled_from(["", ", ['sum(a_measure)', 'count']", ", measures=('count',)"]))
    chart = draw(st.sampled_from(["", ", chart='line'"]))
    filters = draw(st.sampled_from(["", ", filters={}", ", filters={'a_measure[in]': [1, 2]}"]))
    field = "schema.int('a_measure', aggregatable=True, filterable=True)"
    report = f"schema.report('a_report', ['a_measure']{measures}{filters}{chart})"
    return draw(st.sampled_from([[], [field, report]]))


@st.composite
def schema_files(draw: st.DrawFn, more: tuple[str, ...] = ()) -> str:
    """The text of a valid resources/thing/schema.py. more: parts that it has anyway."""
    traits = ["timestamps", "soft_delete", "tenant_scoped", "auditable", "version"]
    parts = [*draw(members()), *draw(permissions())]
    if not any("primary_key" in part for part in parts):  # the key is id
        parts += draw(st.lists(st.sampled_from(SEVERAL), unique=True))
    chosen = draw(st.lists(st.sampled_from(traits), unique=True))
    if more:  # the other one is tenant-scoped or not as it likes: so this one is not
        chosen = [trait for trait in chosen if trait != "tenant_scoped"]
    parts += [f"schema.{trait}()" for trait in chosen]
    parts += [*draw(st.lists(hooks(), max_size=1)), *more, *draw(reports())]
    plural = draw(st.sampled_from(["", ', plural="stuff"']))
    body = ", ".join(['"Thing"', *draw(st.permutations(parts))])
    return f"{HEAD}thing = schema.define({body}{plural})\n"


@st.composite
def schema_projects(draw: st.DrawFn) -> dict[str, str]:
    """Folder → text of two valid files that refer to each other."""
    there = [draw(relation("owner")), draw(relation("one"))]
    here = ["schema.has_many('Other', via='owner')", "schema.has_one('Other', via='one')"]
    pairs = draw(st.booleans())
    if pairs:
        here.append("schema.many_to_many('Other', 'friends', table='pairs')")
        there.append(draw(st.sampled_from(["schema.many_to_many('Thing', table='pairs')", ""])))
    if not pairs and draw(st.booleans()):
        there.append("schema.tenant_scoped()")
    thing = draw(schema_files(tuple(here)))
    body = ", ".join(["'Other'", draw(field("amount")), *filter(None, there)])
    return {"thing": thing, "other": f"{HEAD}other = schema.define({body})\n"}


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
    "True",
    "-1",
    "0",
    "0x" + "f" * 5000,
    "-0x" + "f" * 5000,
    "1e999",
    "1j",
    "...",
    "b'x'",
    "f'{x}'",
    "''",
    "'class'",
    "'Thing'",
    "'Other'",
    "'things'",
    "'(a+)+'",
    "'(?=a)'",
    "'[[a]]'",
    "'a{9}{9}'",
    "'(' * 9",
    "'\\ud800'",
    "'\\0'",
    "'\"; drop table x; --'",
    '\'"""${x}\'',
    "[[]]",
    "[]",
    "()",
    "['admin']",
    "['Admin; --']",
    "(99, 98)",
    "{}",
    "(lambda: 1)",
    "schema.define('Thing')",
    "schema.Hooks()",
    "schema.enum('x', ['a'])",
    "schema.json('x')",
    "schema.uuid('id', primary_key=True)",
    "schema.has_one('Thing')",
    "schema.many_to_many('Thing')",
    "schema.permission('read', [])",
    "schema.tenant_scoped()",
    "schema.check('version > 1', 'no')",
    "schema.check('versi' 'on > x', 'no')",
    "schema.unique('id', 'x')",
    "schema.report('x', ['id'], ['count', 'count'], {'id': 0x1, 'x[': None})",
    "schema.JobRef()",
    "schema.define",
    "*x",
    "(yield)",
    "(x := 1)",
    "not x",
    "[schema.string('x')]",
]
_OPTIONS = [None, "name", "default", "min", "kind", "hooks", "pattern", "primary_key", "via"]
_OPTIONS += ["visible_to", "writable_by", "searchable", "max_len", "table", "roles", "target"]
_OPTIONS += ["group", "measures", "filters", "chart", "aggregatable"]


class _Spoiler(ast.NodeTransformer):
    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and self._chance.random() < 0.08:
            return ast.parse(f"f({self._chance.choice(_ATOMS)})", mode="eval").body.args[0]  # type: ignore[attr-defined]
        if isinstance(node, ast.keyword) and self._chance.random() < 0.1:
            node.arg = self._chance.choice(_OPTIONS)
        return self.generic_visit(node)


def spoil_tree(source: str, seed: int) -> bytes:
    """The file with a few expressions replaced by others."""
    tree = ast.fix_missing_locations(_Spoiler(seed).visit(ast.parse(source)))
    try:
        return ast.unparse(tree).encode("utf-8", "surrogatepass")
    except (ValueError, AttributeError):  # a tree that no text gives
        return source.encode()
