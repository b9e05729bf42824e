"""Names and literals: what PostgreSQL reads is what we meant, on every server."""

from __future__ import annotations

import pytest
from forge_min.db import connect
from forge_min.errors import BuildError
from forge_min.migrations.objects import RESERVED, identifier, literal
from forge_min.parse.names import constraint_name
from hypothesis import given
from hypothesis import strategies as st


def test_a_short_name_is_what_postgresql_would_choose_itself():
    assert constraint_name("countries", "code", "key") == "countries_code_key"
    assert constraint_name("flights", "origin_id", "fkey") == "flights_origin_id_fkey"
    assert constraint_name("flights", "", "pkey") == "flights_pkey"


@given(st.text("abé_", min_size=1, max_size=63), st.text("abé_", min_size=1, max_size=63))
def test_any_name_fits_and_says_its_kind(table, column):
    name = constraint_name(table, column, "min_len")
    assert len(name.encode()) <= 63
    assert name.endswith("_min_len")


def test_long_names_that_begin_alike_stay_apart():
    table = "t" * 40
    names = {
        constraint_name(table, "c" * 30 + end, kind) for end in "ab" for kind in ("key", "idx")
    }
    assert len(names) == 4


@pytest.mark.parametrize("name", ["", "x" * 64, "é" * 32, "a\0b"])
def test_a_name_that_postgresql_would_cut_is_refused(name):
    with pytest.raises(BuildError) as caught:
        identifier(name)
    assert caught.value.code == "F330"


HOSTILE = [
    "'; drop table victim; --",
    "\\'; drop table victim; --",
    "\\",
    "\\\\'",
    "a\n-- forge: down\ndrop table victim;",
    "\r\n\t\x01\x7f\x0bf",
    "$$ ; $$",
    "/* ' */",
    "%s %(a)s %",
    "é\u2028😀",
    "",
]


@pytest.mark.db
@pytest.mark.parametrize("standard", ["on", "off"])
def test_any_literal_comes_back_as_it_was(server, standard):
    with connect(server.owner_url) as conn:
        conn.execute("set escape_string_warning = off")
        conn.execute(f"set standard_conforming_strings = {standard}")
        for text in HOSTILE:
            assert "\n" not in literal(text)
            assert conn.execute("select " + literal(text)).fetchone() == (text,)


@pytest.mark.db
def test_the_reserved_words_are_those_of_the_server(server):
    with connect(server.owner_url) as conn:
        query = "select word from pg_get_keywords() where quote_ident(word) <> word"
        words = {row[0] for row in conn.execute(query)}
        newest = conn.info.server_version >= 180000
    assert words == RESERVED if newest else words <= RESERVED


@pytest.mark.db
def test_any_name_comes_back_as_it_was(server):
    with connect(server.owner_url) as conn:
        for name in ("plain", "select", "Upper", 'quo"te', "two words", "é" * 31, "1st", "$1"):
            cursor = conn.execute(f"select 1 as {identifier(name)}")
            assert cursor.description and cursor.description[0].name == name
