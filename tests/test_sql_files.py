"""SQL files: named statements; migration files, their parts, and where one statement ends."""

from __future__ import annotations

import os
import sys
import zipfile

import pytest
from forge_min.db import FORGE_MIGRATIONS, MigrationFile, read_migrations
from forge_min.errors import BuildError
from forge_min.sql_files import load_sql, statements
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes x.sql of a package named sqlroom, beside an __init__."""
    (tmp_path / "sqlroom").mkdir()
    (tmp_path / "sqlroom" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda text: (tmp_path / "sqlroom" / "x.sql").write_text(text)
    sys.modules.pop("sqlroom", None)


def test_statements_are_found_by_name(package):
    first = "-- a comment\n\n-- name: one\nselect 1;\n\n"
    package(f"{first}-- of a b,\n-- two\n-- name: a b\nselect 2\n  -- why\n  , 3;\n")
    assert load_sql("sqlroom", "x.sql") == {
        "one": "select 1",
        "a b": "select 2\n  -- why\n  , 3",
    }


def test_a_zip_is_as_good_as_a_folder(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.pyz", "w") as archive:
        archive.writestr("zippedroom/__init__.py", "")
        archive.writestr("zippedroom/x.sql", "-- name: one\nselect 1")
    monkeypatch.syspath_prepend(str(tmp_path / "a.pyz"))
    try:
        assert load_sql("zippedroom", "x.sql") == {"one": "select 1"}
    finally:
        sys.modules.pop("zippedroom", None)


@pytest.mark.parametrize(
    "text", ["select 1", "-- name: a\nselect 1\n-- name: a\nselect 2", "-- name: a\n-- name: b\nx"]
)
def test_a_wrong_file_is_refused(package, text):
    package(text)
    with pytest.raises(BuildError) as caught:
        load_sql("sqlroom", "x.sql")
    assert caught.value.code == "F329"


def test_files_come_in_order_and_other_files_are_left_alone(tmp_path):
    for name in ("0010_b.sql", "0002_a.sql", "README.md"):
        (tmp_path / name).write_text("select 1;")
    found = read_migrations(tmp_path)
    assert [(file.source, file.name) for file in found] == [
        ("app", "0002_a.sql"),
        ("app", "0010_b.sql"),
    ]


def test_a_missing_folder_has_no_files(tmp_path):
    assert read_migrations(tmp_path / "none") == []


@pytest.mark.parametrize("name", ["1_a.sql", "0001-a.sql", "0001_A.sql", "a.sql", "0001_.sql"])
def test_a_wrong_name_is_refused(tmp_path, name):
    (tmp_path / name).write_text("select 1;")
    with pytest.raises(BuildError) as caught:
        read_migrations(tmp_path)
    assert caught.value.code == "F321" and name in caught.value.message


def test_a_number_that_comes_twice_is_refused_with_both_names(tmp_path):
    for name in ("0001_a.sql", "0001_b.sql"):
        (tmp_path / name).write_text("select 1;")
    with pytest.raises(BuildError, match=r"0001_a\.sql and 0001_b\.sql"):
        read_migrations(tmp_path)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, make):
    make(tmp_path / "0001_a.sql")
    with pytest.raises(BuildError, match=r"0001_a\.sql is not a regular file") as caught:
        read_migrations(tmp_path)
    assert caught.value.code == "F321"


def test_what_is_no_utf_8_is_refused_by_name_and_a_mark_at_the_begin_is_none_of_the_text(tmp_path):
    (tmp_path / "0001_a.sql").write_bytes(b"\xef\xbb\xbf-- forge: generated\nselect 1;")
    assert read_migrations(tmp_path)[0].generated
    (tmp_path / "0002_b.sql").write_bytes("select 'é';".encode("latin-1"))
    with pytest.raises(BuildError, match=r"0002_b\.sql is not UTF-8 text") as caught:
        read_migrations(tmp_path)
    assert caught.value.code == "F321"


def test_windows_line_ends_do_not_change_the_checksum(tmp_path):
    (tmp_path / "0001_a.sql").write_bytes(b"select 1;\r\n-- forge: down\r\nselect 2;\r\n")
    [file] = read_migrations(tmp_path)
    assert file.checksum == MigrationFile("", "", "select 1;\n-- forge: down\nselect 2;\n").checksum
    assert file.down == "select 2;"


def test_up_and_down_are_taken_apart_at_a_line_of_its_own():
    file = MigrationFile("app", "0001_a.sql", "select '-- forge: down';\n-- forge: down\nselect 2;")
    assert file.statements == ["select '-- forge: down'"]
    assert file.down == "select 2;"
    assert MigrationFile("app", "0001_a.sql", "select 1;").down == ""


def test_flags_count_in_the_leading_comments_only():
    head = MigrationFile("app", "x", "-- forge: generated\n-- forge: no transaction\n\nselect 1;")
    later = MigrationFile("app", "x", "select 1;\n-- forge: generated\n-- forge: no transaction\n")
    assert (head.generated, head.transactional) == (True, False)
    assert (later.generated, later.transactional) == (False, True)


def test_forge_brings_migrations_of_its_own():
    assert FORGE_MIGRATIONS
    assert {file.source for file in FORGE_MIGRATIONS} == {"forge"}
    assert FORGE_MIGRATIONS[0].label.startswith("forge/0001_")


TRICKY = [
    "select 1",
    "select ';', 'it''s;', E'a\\';b'",
    'select 1 as "a;b"',
    "select 1 /* ; /* nested ; */ ; */ + 1",
    "select 1 -- no end; here\n, 2",
    "create function f() returns int language sql as $$ select 1; select 2; $$",
    "create function g() returns int language plpgsql as $body$ begin return $$;$$; end $body$",
    "create function h() returns int language sql begin atomic select 1; select case when true"
    " then 1 else 2 end; end",
    "do $$ begin perform ';'; end $$",
    "select case when true then 'a;' end",
    "select 'begin atomic', 'end'",
]


@pytest.mark.parametrize("tricky", TRICKY)
def test_a_semicolon_that_ends_nothing_is_left_alone(tricky):
    assert statements(f"{tricky};\n\nselect 'last'\n") == [tricky, "select 'last'"]


def test_empty_statements_and_comments_are_no_statements():
    assert statements(" ;; -- only a comment\n; /* and ; another */ ;\n-- the end") == []


@given(st.lists(st.sampled_from(TRICKY), max_size=6))
def test_any_mixture_is_taken_apart_again(several):
    assert statements(";\n".join(several)) == several


@given(st.text(alphabet="ab;'\"$-/*E\n \\", max_size=60))
def test_any_text_is_taken_apart_without_loss(text):
    joined = "".join(statements(text))
    assert len(joined) <= len(text)
    assert all(part in text for part in statements(text))


@pytest.mark.parametrize(
    "statement",
    [
        "drop table a, b",
        "alter table a rename to b",
        "alter table a rename column b to c",
        "alter table a\n  drop column b",
        "alter table a\n  alter column b set not null",
        "alter table a\n  alter column b drop default,\n  alter column b type text[]",
        "ALTER TABLE a ADD COLUMN b numeric(6,2) NOT NULL",
        "alter table a add column b int default 1, add column c int not null",
    ],
)
def test_a_statement_that_running_code_may_not_survive_is_found_anywhere(statement):
    """Also in a block, as a file of single steps begins with; on one line, without comments."""
    line = " ".join(statement.split())
    text = f"-- drop table x\n{statement};\n\n-- forge: down\ndrop table y;\n"
    assert MigrationFile("app", "0001_x.sql", text).breaking == [line]
    text = f"do $forge$ begin\n{statement};\nend $forge$;\n"
    assert MigrationFile("app", "0001_x.sql", text).breaking == [line]


@pytest.mark.parametrize(
    "statement",
    [
        "create table a (type text not null)",
        "create index concurrently a_idx on a (type)",
        "alter table a add column type text",
        "alter table a add column b numeric(6,2) not null default (1)",
        "alter table a add column b tsvector generated always as (c) stored not null",
        "alter table a add constraint b check (type is not null) not valid",
        "alter table a rename constraint b to c",
        "alter table a drop constraint b",
        "alter table a alter column type set default 1, alter column b drop not null",
        "alter index a rename to b",
        "alter policy a on b rename to c",
        "drop view a;\ncreate view a as select b from c",
        "update a set b = 1 where type is not null",
    ],
)
def test_running_code_survives_all_else(statement):
    assert MigrationFile("app", "0001_x.sql", f"{statement};").breaking == []
