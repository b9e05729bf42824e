"""What a trace shows of a statement: any text, however it is quoted, cut or meant to hurt."""

from __future__ import annotations

import time

import pytest
from forge_min.observe.statements import operation, without_values
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("select $$hunter2$$, $t$hunter2$t$", "select ?, ?"),
        (r"select E'it\'s hunter2', 'a\'", "select ?, ?"),
        ("select 0xdead, 1.5e10, 1_000, 0o17", "select ?, ?, ?, ?"),
        ("select 1e1_007, 1.5E-1_0, 1_0.0_1e+0_7", "select ?, ?, ?"),
        ("select 1 -- hunter2", "select ? "),
        ("select /* hunter2 */ 1", "select  ?"),
        ('select "it\'s", t1.c2 from "t\'x" t1', 'select "it\'s", t1.c2 from "t\'x" t1'),
        ("select $1::text, %(p1)s, 'hunter2'", "select $1::text, %(p1)s, ?"),
        ("select 'a''b', é1, e2, 'it''s", "select ?, é1, e2, ?"),
        # where a reader of less than PostgreSQL's own would begin or end at the wrong quote
        ("select date'a\\', 'hunter2'", "select date?, ?"),
        ("select $1$$hunter2$$", "select $1?"),
        ("select a$b$, '$b$ hunter2'", "select a$b$, ?"),
        ("select 1 -- it's\r, 'hunter2'", "select ? \r, ?"),
        ("select E'a'\n'b\\' hunter2'", "select ?"),
        ("select E'a' -- c'\n -- d\n'b\\' hunter2'", "select ?"),
        ("select 'a'\n'b'", "select ?\n?"),
        ("select /* a /* b */ hunter2 */ 1", "select "),
        ("select U&'hunter2'", "select U&?"),
        # without an end
        ("select 'hunter2", "select ?"),
        ("select 'hunter2''", "select ?"),
        ("select E'hunter2\\", "select ?"),
        ("select $t$ hunter2 $t", "select ?"),
        ("select 1 /* hunter2 *", "select ? "),
        ("select \"hunter2, 'hunter2'", "select ?"),
    ],
)
def test_literals_and_comments_are_left_out_and_names_stay(text: str, shown: str) -> None:
    assert without_values(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"select 'it\'s hunter2', 'x'", "select ?, ?"),
        (r"select 'a\\', b, 'it''s hunter2\\'", "select ?, b, ?"),
        ("select 'a'\n'b\\' hunter2'", "select ?"),
        (r"select E'it\'s hunter2', date'\'hunter2'", "select ?, date?"),
        (r'select "a\", $$\$$, 7', r'select "a\", ?, ?'),
        ("select 'hunter2\\", "select ?"),
    ],
)
def test_where_every_text_has_escapes_its_end_is_found_too(text: str, shown: str) -> None:
    """Manual, standard_conforming_strings: off."""
    assert without_values(text, escapes=True) == shown


INSIDE = st.text(st.sampled_from("'\"\\$/*- \n\raE1é")).map(lambda text: text + "hunter2" + text)
TAGS = st.sampled_from(["", "a", "é1", "_E"])
TOKENS = st.lists(
    INSIDE.map(lambda text: "'" + text.replace("'", "''") + "'")
    | INSIDE.map(lambda text: "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'")
    | INSIDE.map(lambda text: "e'" + text.replace("\\", "\\\\").replace("'", "''") + "'")
    | st.tuples(TAGS, INSIDE.map(lambda text: text.replace("$", ""))).map(
        lambda of: f"${of[0]}${of[1]}${of[0]}$"
    )
    | INSIDE.map(lambda text: "--" + text.replace("\n", "").replace("\r", "") + "\n")
    | INSIDE.map(lambda text: "/*" + text.replace("*", "").replace("/", "") + "*/")
    | st.sampled_from(
        ["select", "E", "e1$", "a$b$", "é", '"it\'s"', '"$a$"', '"/*"', "$1", "$2", "%(a)s", "%s",
         "1", "1e5", "0x1f", "(", ",", "::", "-", "/", "*", "||", "\n", "\\"]
    )
)  # fmt: skip


@given(tokens=TOKENS, between=st.sampled_from([" ,", "\n, ", "\t\r+\n"]))
def test_whatever_a_statement_is_made_of_no_value_of_it_is_shown(
    tokens: list[str], between: str
) -> None:
    assert "hunter2" not in without_values(between.join(tokens))


@given(
    texts=st.lists(
        INSIDE.map(lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'")
        | INSIDE.map(lambda text: "'" + text.replace("\\", "\\\\").replace("'", "''") + "'")
    )
)
def test_nor_where_every_text_has_escapes(texts: list[str]) -> None:
    assert "hunter2" not in without_values(" ,".join(texts), escapes=True)


@given(value=st.text(), before=st.integers(7_800, 8_100))
def test_no_cut_shows_a_value(value: str, before: int) -> None:
    quoted = "'" + ("hunter2" + value).replace("'", "''") + "'"
    filling = "(" * 1_000 + "/*" + " " * (before - 1_004) + "*/"
    assert "hunter2" not in without_values(f"{filling}{quoted},{quoted}")
    assert "hunter2" not in without_values(f"select {quoted}, {quoted * 1000}")


def test_a_text_is_shown_to_a_bound() -> None:
    assert without_values("(" * 5_000) == "(" * 2_000


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("select 1", "SELECT"),
        (" -- a\n/* b */\n insert into t", "INSERT"),
        (f"/* {'x' * 3_000} */ with a as (select 1)", "WITH"),
        ("(select 1)", "QUERY"),
        ("", "QUERY"),
    ],
)
def test_a_statement_is_named_by_its_first_word(text: str, name: str) -> None:
    assert operation(without_values(text)) == name


@pytest.mark.parametrize(
    "part",
    ["'", "''", "$", "$$", "$a", "$a$", "$aa$b", "/*", "/**/", "/*/", '"', "E'", "E'\\", "E'a'\n",
     "'\n", "--", "-- \n", "1", "1e", "a", "(", " "],
)  # fmt: skip
def test_no_text_takes_long(part: str) -> None:
    started = time.process_time()
    for head in ("", "E'", "/*", "$a$"):
        for tail in ("", "("):
            for escapes in (False, True):
                operation(without_values((head + part * 20_000)[:7_999] + tail, escapes=escapes))
    assert time.process_time() - started < 2.0
