"""import and export as commands: what is kept, which line was wrong, and that both agree."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from .conftest import Library

pytestmark = pytest.mark.db

MANY = 2_500  # lines: three batches


def count(library: Library, table: str = "books") -> int:
    ((found,),) = library.sql(f"select count(*) from {table}")
    return int(found)


def wrong_lines() -> list[object]:
    """A file with a line of every kind; the wrong ones are 2, 3, 4, 6, 7, 8 and 9."""
    return [
        {"title": "one", "isbn": "1", "shelf_id": "a"},
        {"title": "", "pages": 0, "wings": 2},
        '{"title": ',
        b'{"title": "caf\xe9"}',
        {"title": "five", "isbn": "5"},
        {"title": "six", "shelf_id": "zzz"},
        {"title": "seven", "isbn": "1"},
        {"title": "eight", "isbn": "taken"},
        {"title": "nine", "tag_ids": [str(uuid4())]},
        {"title": "ten", "shelf_id": "b"},
    ]


@pytest.mark.thorough
def test_a_wrong_line_undoes_the_file_and_each_is_named(library: Library) -> None:
    library.load("books", library.file("first.jsonl", {"title": "there", "isbn": "taken"}))
    file = library.file("books.jsonl", *wrong_lines())
    said = library.run("import", "books", str(file), code=1).stderr
    for expected in (
        "books.jsonl:2: title ",
        "books.jsonl:2: pages ",
        "books.jsonl:2: wings ",
        "books.jsonl:3: malformed JSON",
        "books.jsonl:4: malformed JSON: 'utf-8' codec",
        "books.jsonl:6: shelf_id refers to an entry that does not exist",
        "books.jsonl:7: isbn is already taken",
        "books.jsonl:8: isbn is already taken",
        "books.jsonl:9: tag_ids",
        "books.jsonl: nothing was imported",
    ):
        assert expected in said, said
    assert "jsonl:1:" not in said and "jsonl:5:" not in said and "jsonl:10:" not in said
    assert count(library) == 1 == count(library, "forge_job") == count(library, "forge_audit")


def test_a_csv_row_names_every_wrong_cell(library: Library) -> None:
    file = library.folder / "books.csv"
    file.write_text('title,pages,lent,data,tag_ids\nten,x,maybe,{,"[1"\nnine,1,true,"{}",[]\n')
    report = library.load("books", file, "--on-error", "skip", code=1)
    assert (report["created"], report["refused"]) == (1, 1)
    wrong = {(e["line"], e["field"]) for e in report["errors"]}
    assert wrong == {(2, name) for name in ("pages", "lent", "data", "tag_ids")}


@pytest.mark.thorough
def test_skipping_keeps_the_good_lines_and_reports_the_others(library: Library) -> None:
    library.load("books", library.file("first.jsonl", {"title": "there", "isbn": "taken"}))
    file = library.file("books.jsonl", *wrong_lines())
    report = library.load("books", file, "--on-error", "skip", code=1)
    assert (report["rows"], report["created"], report["refused"]) == (3, 3, 7)
    assert {e["line"] for e in report["errors"]} == {2, 3, 4, 6, 7, 8, 9}
    fields = {(e["line"], e["field"]) for e in report["errors"]}
    assert {(2, "title"), (2, "pages"), (2, "wings"), (6, "shelf_id"), (7, "isbn")} <= fields
    assert all(e["code"] and e["message"] for e in report["errors"])
    titles = [title for (title,) in library.sql("select title from books order by title")]
    assert titles == ["five", "one", "ten", "there"]
    assert count(library, "forge_job") == 4
    assert count(library, "forge_audit") == 4
    again = library.run("import", "books", str(file), "--on-error", "skip", code=1)
    assert "1 created, 9 refused" in again.stdout  # "ten" has nothing unique


def test_conflicts_are_found_in_a_long_file(library: Library) -> None:
    rows = [{"word": f"w{n}"} for n in range(1, MANY + 1)]
    rows[1776] = {"word": "fiction"}
    rows[2399] = {"word": "w5"}
    file = library.file("tags.jsonl", *rows)
    report = library.load("tags", file, "--on-error", "skip", code=1)
    assert report["created"] == MANY - 2
    assert [e["line"] for e in report["errors"]] == [1777, 2400]
    library.sql("delete from tags where word <> 'fiction'")
    report = library.load("tags", file, code=1)
    assert (report["rows"], [e["line"] for e in report["errors"]]) == (0, [1777])
    assert count(library, "tags") == 1


@pytest.mark.thorough
def test_update_finds_rows_by_a_unique_field(library: Library) -> None:
    rows = [{"title": "one", "isbn": "1"}, {"title": "two", "isbn": "2"}]
    library.load("books", library.file("a.jsonl", *rows))
    changed = [rows[0], {"title": "zwei", "isbn": "2"}, {"title": "three", "isbn": "3"}]
    file = library.file("b.jsonl", *changed)
    report = library.load("books", file, "--update", "isbn")
    assert {n: report[n] for n in ("created", "updated", "unchanged", "refused", "rows")} == {
        "created": 1,
        "updated": 1,
        "unchanged": 1,
        "refused": 0,
        "rows": 3,
    }
    assert library.sql("select title, version from books order by isbn") == [
        ("one", 1),
        ("zwei", 2),
        ("three", 1),
    ]
    done = library.run("import", "books", str(file), "--update", "isbn")
    assert "books: 3 unchanged in" in done.stdout
    done = library.run("import", "books", str(file), "--update", "title", code=1)
    assert "isbn" in done.stderr and "title" in done.stderr


@pytest.mark.thorough
def test_rows_of_a_tenant_need_a_tenant_and_a_role_has_its_own_rights(library: Library) -> None:
    first, second = str(uuid4()), str(uuid4())
    file = library.file("readers.jsonl", {"name": "Ada"}, {"name": "Bo"})
    done = library.run("import", "readers", str(file), code=1)
    assert "error[F620]" in done.stderr and "--tenant" in done.stderr
    for tenant in (first, second):
        library.load("readers", file, "--tenant", tenant)
    assert count(library, "readers") == 4
    done = library.run("export", "readers", "--tenant", first, code=1)
    assert "error[F605]" in done.stderr and "--as-role" in done.stderr
    rows = library.export("readers", "--tenant", first, "--as-role", "clerk")
    assert sorted(row["name"] for row in rows) == ["Ada", "Bo"]
    done = library.run(
        "import", "readers", str(file), "--tenant", first, "--as-role", "guest", code=1
    )
    assert "error[F605]" in done.stderr
    done = library.run("import", "readers", str(file), "--tenant", "north", code=1)
    assert "error[F633]" in done.stderr and "'north'" in done.stderr
    library.run("auth", "create-tenant", "north")
    library.load("readers", file, "--tenant", "north")
    rows = library.export("readers", "--tenant", "north", "--as-role", "clerk")
    assert sorted(row["name"] for row in rows) == ["Ada", "Bo"]


@pytest.mark.thorough
def test_a_role_may_not_write_what_is_anothers(library: Library) -> None:
    file = library.file("a.jsonl", {"title": "one", "price": "2.50"})
    report = library.load("books", file, "--as-role", "guest", code=1)
    assert [(e["line"], e["field"]) for e in report["errors"]] == [(1, "price")]
    library.load("books", file, "--as-role", "guest", "--as-role", "clerk")
    library.load("books", library.file("b.jsonl", {"title": "two", "price": "3.50"}))


def full_rows(library: Library) -> list[dict[str, Any]]:
    """Rows with what is hard to write down, imported."""
    ((tag,),) = library.sql("select id::text from tags")
    ids = [str(uuid4()) for _ in range(3)]
    rows: list[dict[str, Any]] = [
        {
            "id": ids[0],
            "title": 'a "quoted", line\r\nof two',
            "isbn": "1",
            "note": "\u2028ünï\r \t'=1+1'",
            "pages": 12,
            "ean": 2**53 + 1,
            "price": "12345678.90",
            "lent": True,
            "seen_at": "2026-11-25T08:30:00.123456+01:00",
            "printed_on": "0999-01-31",
            "state": "old",
            "data": {"deep": [1, 1.5, None, "", "x\ny", {"a": []}]},
            "site": "https://example.org/a?b=c,d",
            "donor": "a.b@example.org",
            "old_id": str(uuid4()),
            "shelf_id": "a",
            "tag_ids": [tag],
        },
        {"id": ids[1], "title": "none"},
        {"id": ids[2], "title": "texts", "data": "", "note": ""},
    ]
    library.load("books", library.file("rows.jsonl", *rows))
    return rows


def without_tags(file: Path) -> Path:
    """The same file without the field tag_ids, which is the last one."""
    text = file.read_bytes().decode()
    pattern = (
        r',(tag_ids|\[\]|"\[""[^]]*""\]")\r\n' if file.suffix == ".csv" else r', "tag_ids": \[.*?\]'
    )
    found, count = re.subn(pattern, "\r\n" if file.suffix == ".csv" else "", text)
    assert count == (4 if file.suffix == ".csv" else 3)
    out = file.with_stem("without")
    out.write_bytes(found.encode())
    return out


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.thorough
def test_an_export_imports_to_the_same_rows(library: Library, form: str) -> None:
    given = full_rows(library)
    file = library.folder / f"out.{form}"
    said = library.run("export", "books", "-o", str(file), "--all-fields", "--sort=title").stdout
    assert "3 rows" in said
    before = library.export("books", "--all-fields", "--sort=title")
    first = next(row for row in before if row["id"] == given[0]["id"])
    assert first["data"] == given[0]["data"] and first["tag_ids"] == given[0]["tag_ids"]
    library.sql("truncate books cascade")
    assert library.load("books", file)["created"] == 3
    after = library.export("books", "--all-fields", "--sort=title")
    own = ("created_at", "updated_at")
    assert [{k: v for k, v in row.items() if k not in own} for row in after] == [
        {k: v for k, v in row.items() if k not in own} for row in before
    ]
    assert library.load("books", without_tags(file), "--update", "id")["unchanged"] == 3


@pytest.mark.thorough
def test_an_export_has_a_row_before_those_that_refer_to_it(library: Library) -> None:
    library.sql("truncate tags cascade")
    library.sql(
        "insert into tags (id, word, wider_id) select lpad(n::text, 32, '0')::uuid, n,"
        " lpad(nullif(n - 1, 0)::text, 32, '0')::uuid from generate_series(1, %s) n",
        MANY,
    )
    file = library.folder / "tags.jsonl"
    library.run("export", "tags", "-o", str(file))
    library.sql("truncate tags cascade")
    assert library.load("tags", file)["created"] == MANY


def tag(n: int, wider: int = 0) -> dict[str, object]:
    wide = str(UUID(int=wider)) if wider else None
    return {"id": str(UUID(int=n)), "word": str(n), "wider_id": wide}


@pytest.mark.parametrize("how", ["stop", "skip"])
def test_a_row_may_refer_to_one_of_a_later_line(library: Library, how: str) -> None:
    library.sql("truncate tags cascade")
    file = library.folder / "chain.jsonl"
    chain = [tag(n, n + 1) for n in range(1, MANY)] + [tag(MANY)]
    file.write_text("\n".join(map(json.dumps, chain)))
    assert library.load("tags", file, "--on-error", how)["created"] == MANY
    assert count(library, "tags") == MANY


@pytest.mark.thorough
def test_only_what_leads_nowhere_is_refused_of_rows_that_refer_to_later_ones(
    library: Library,
) -> None:
    library.sql("truncate tags cascade")
    file = library.folder / "forward.jsonl"
    lines = [tag(1, 3), tag(2, 99), tag(3), tag(4, 2), tag(5, 6), tag(6, 1), tag(7, 98)]
    file.write_text("\n".join(map(json.dumps, lines)))
    report = library.load("tags", file, code=1)
    assert (report["created"], count(library, "tags")) == (0, 0)
    report = library.load("tags", file, "--on-error", "skip", code=1)
    assert (report["created"], report["refused"]) == (4, 3)
    assert [(e["line"], e["code"]) for e in report["errors"]] == [
        (2, "no_such_row"), (4, "no_such_row"), (7, "no_such_row"),
    ]  # fmt: skip
    assert {word for (word,) in library.sql("select word from tags")} == {"1", "3", "5", "6"}


def test_a_number_that_nothing_holds_is_named_by_its_line(library: Library) -> None:
    file = library.folder / "huge.jsonl"
    huge = '{"title": "b", "data": 1e999999999999999999999}'
    file.write_text(f'{{"title": "a"}}\n{huge}\n{{"title": "c"}}\n')
    report = library.load("books", file, "--on-error", "skip", code=1)
    assert (report["created"], [e["line"] for e in report["errors"]]) == (2, [2])
    table = library.folder / "huge.csv"
    table.write_text("title,data\na,1\nb,1e999999999999999999999\n")
    report = library.load("books", table, "--on-error", "skip", code=1)
    assert (report["created"], [e["line"] for e in report["errors"]]) == (1, [3])


@pytest.mark.thorough
def test_an_export_shows_what_its_roles_may_see(library: Library) -> None:
    full_rows(library)
    library.sql("update books set deleted_at = now() where title = 'none'")
    rows = library.export("books")
    assert len(rows) == 2 and all("price" not in row for row in rows)
    assert all("price" in row for row in library.export("books", "--as-role", "clerk"))
    header = library.run("export", "books", "--format", "csv").stdout.splitlines()[0]
    assert "price" not in header and header.startswith("id,title") and "tag_ids" in header
    library.sql("delete from books")
    assert library.run("export", "books", "--format", "csv").stdout.splitlines() == [header]
    assert library.run("export", "books").stdout == ""
    recorded = "select actor, changes from forge_audit where topic = 'forge_user' group by 1, 2"
    assert library.sql(recorded) == [("operator", {"export": ["", "books"]})]


@pytest.mark.thorough
def test_an_export_is_filtered_and_sorted(library: Library) -> None:
    rows = [{"title": f"t{n}", "pages": n} for n in range(1, 8)]
    library.load("books", library.file("a.jsonl", *rows))
    found = library.export(
        "books", "--where", "pages[gte]=3", "--where", "pages[lt]=6", "--sort=-pages"
    )
    assert [row["pages"] for row in found] == [5, 4, 3]
    library.sql("insert into shelves (code, room) values ('low', 'r'), ('high', 'r')")
    library.sql("update books set shelf_id = case when pages < 3 then 'low' else 'high' end")
    found = library.export("books", "--where", "shelf.code[ne]=high", "--sort=pages")
    assert [row["pages"] for row in found] == [1, 2]
    done = library.run("export", "books", "--where", "note=x", code=1)
    assert "filters: " in done.stderr
    library.run("export", "books", "--where", "pages", code=2)
    library.run("export", "books", "--sort=note", code=1)


def test_an_export_of_many_rows_is_whole(library: Library) -> None:
    library.sql("insert into tags (word) select 'w' || n from generate_series(1, %s) n", MANY)
    found = library.export("tags")
    assert len({row["id"] for row in found}) == MANY + 1


@pytest.mark.thorough
def test_an_export_goes_to_a_file_that_a_wrong_filter_leaves_alone(library: Library) -> None:
    file = library.folder / "tags.csv"
    file.write_text("old")
    for wrong in ("note=x", "wider.word=x"):
        done = library.run("export", "tags", "-o", str(file), "--where", wrong, code=1)
        assert file.read_text() == "old" and "F608" in done.stderr
    assert "tags.csv: 1 rows" in library.run("export", "tags", "-o", str(file)).stdout
    with file.open(newline="") as stream:
        assert [row["word"] for row in csv.DictReader(stream)] == ["fiction"]
    assert json.loads(library.run("export", "tags", "--json").stdout)["word"] == "fiction"
    done = library.run("export", "tags", "-o", str(library.folder / "no" / "x"), code=1)
    assert "error[F002]" in done.stderr


def test_a_reader_that_goes_away_ends_an_export_quietly(library: Library) -> None:
    library.sql("insert into tags (word) select 'w' || n from generate_series(1, %s) n", MANY)
    child = subprocess.Popen(
        library.argv("export", "tags"),
        env=library.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout and child.stderr
    child.stdout.close()
    with child.stderr:
        assert child.stderr.read() == b""
    assert child.wait(60) == 1


@pytest.mark.thorough
def test_progress_is_for_a_terminal(library: Library) -> None:
    file = library.file("tags.jsonl", *({"word": f"w{n}"} for n in range(MANY)))
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        library.argv("import", "tags", str(file)),
        env=library.environ,
        stdout=subprocess.DEVNULL,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    try:
        while part := os.read(leader, 4096):
            shown += part
    except OSError:  # Linux: the other side is closed
        pass
    os.close(leader)
    assert child.wait(60) == 0
    assert b"1000 lines\r2000 lines\r" in shown
    library.sql("delete from tags")
    assert library.run("import", "tags", str(file)).stderr == ""


@pytest.mark.thorough
def test_a_relation_is_named_by_a_unique_field(library: Library) -> None:
    library.load("shelves", library.file("shelves.jsonl", {"code": "a-1", "room": "R"}))
    tags = library.file(
        "tags.jsonl",
        {"word": "cat", "wider.word": "animal"},  # of a later line
        {"word": "animal", "wider.word": None},
        {"word": "dog", "wider.word": "animal"},
    )
    library.load("tags", tags)
    library.load("books", library.file("books.csv", "title,shelf.code\r\nFelix,a-1\r\nRex,\r\n"))
    assert library.sql(
        "select t.word, w.word from tags t left join tags w on w.id = t.wider_id"
        " where t.word <> 'fiction' order by 1"
    ) == [("animal", None), ("cat", "animal"), ("dog", "animal")]
    assert library.sql("select title, shelf_id from books order by 1") == [
        ("Felix", "a-1"), ("Rex", None),
    ]  # fmt: skip
    wrong = library.file("wrong.jsonl", {"word": "elk", "wider.word": "anmal"}, {"word": "x" * 21})
    said = library.run("import", "tags", str(wrong), code=1).stderr
    assert "wrong.jsonl:1: wider.word refers to an entry that does not exist" in said
    update = library.file("update.jsonl", {"word": "cat", "wider.word": "dog"})
    library.run("import", "tags", str(update), "--update", "word")
    written = library.run("export", "tags", "--related", "wider.word", "--format", "csv").stdout
    head, *rows = csv.reader(written.splitlines())
    assert "wider_id" not in head
    words = {row[head.index("word")]: row[head.index("wider.word")] for row in rows}
    assert words == {"animal": "", "cat": "dog", "dog": "animal", "fiction": ""}
    both = library.run("export", "tags", "--related=wider.word", "--related=wider.id").stdout
    row = next(row for row in map(json.loads, both.splitlines()) if row["word"] == "cat")
    assert row["wider.word"] == "dog" and row["wider.id"] and "wider_id" not in row
    said = library.run("export", "tags", "--related", "wider.wrd", code=1).stderr
    assert "wider.wrd" in said and "wider.word" in said


def test_a_reference_finds_no_row_that_the_role_may_not_read(library: Library) -> None:
    library.load("shelves", library.file("shelves.jsonl", {"code": "a-1", "room": "R"}))
    file = library.file("books.jsonl", {"title": "T", "shelf.room": "R"})
    said = library.run("import", "books", str(file), code=1).stderr
    assert "shelf.room is not a field of this resource" in said  # it is not unique
