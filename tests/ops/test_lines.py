"""Files to import: what a line is, and which line is wrong."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest
from forge_min.errors import BadRequest
from forge_min.ops.rows import reader as lines
from forge_min.ops.rows.reader import InputLine, read_lines

TYPES = {"code": "string", "n": "int", "good": "bool", "data": "json", "tag_ids": "many"}


def read(folder: Path, name: str, content: str | bytes) -> list[InputLine]:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_lines(file, TYPES))


def test_json_lines_keep_their_numbers_and_numbers_are_exact(tmp_path: Path) -> None:
    found = read(tmp_path, "a.jsonl", '\ufeff{"n": 1.10}\r\n\n  \n{"n": "x"}')
    assert found == [InputLine(1, {"n": Decimal("1.10")}), InputLine(4, {"n": "x"})]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"code": ', "malformed JSON"),
        (b"[]", "not a JSON object"),
        (b"7", "not a JSON object"),
        (b'{"code": "caf\xe9"}', "'utf-8' codec"),
        (b'{"a":' * 100_000, "malformed JSON"),
    ],
)
def test_a_line_that_is_no_object_is_told_and_the_next_one_is_read(
    tmp_path: Path, line: bytes, error: str
) -> None:
    first, second = read(tmp_path, "a.jsonl", line + b'\n{"n": 1}\n')
    assert error in first.error and (first.number, first.item) == (1, {})
    assert second == InputLine(2, {"n": 1})


def test_cells_are_read_by_type_and_empty_ones_are_null(tmp_path: Path) -> None:
    content = (
        'code,n,good,data,tag_ids\r\n"a ""b""\r\nc",7,true,"{""x"": [1.5]}","[""t""]"\r\n,,,,\r\n'
    )
    found = read(tmp_path, "a.CSV", content)
    full = {
        "code": 'a "b"\r\nc',
        "n": 7,
        "good": True,
        "data": {"x": [Decimal("1.5")]},
        "tag_ids": ["t"],
    }
    assert found == [InputLine(2, full), InputLine(4, dict.fromkeys(TYPES))]


def test_an_empty_text_is_quoted_and_what_is_no_text_is_null_all_the_same(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", 'code,n,good,data\n"","","",""\n,"",,\n"",1,,"""""" \n')
    assert found[:2] == [
        InputLine(2, {"code": "", "n": None, "good": None, "data": None}),
        InputLine(3, dict.fromkeys(("code", "n", "good", "data"))),
    ]
    assert (found[2].number, "cell 4" in found[2].error) == (4, True)


def test_a_quoted_cell_without_an_end_is_told_by_its_first_line(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", 'code,n\na,1\n"b,2\nc,3\n')
    assert found[0] == InputLine(2, {"code": "a", "n": 1})
    assert [(line.number, bool(line.error)) for line in found[1:]] == [(3, True)]


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (b"x", "1 cells, and the header has 2"),
        (b"x,1,2", "3 cells"),
        (b'x"y,"1" 2', "malformed CSV"),
        (b"caf\xe9,1", "'utf-8' codec"),
    ],
)
def test_a_wrong_row_is_told_and_the_next_one_is_read(
    tmp_path: Path, row: bytes, error: str
) -> None:
    first, second = read(tmp_path, "a.csv", b"code,n\n" + row + b"\nz,3\n")
    assert error in first.error and first.number == 2
    assert second == InputLine(3, {"code": "z", "n": 3})


def test_a_cell_may_be_longer_than_pythons_usual_limit(tmp_path: Path) -> None:
    (line,) = read(tmp_path, "a.csv", "code\n" + "x" * 200_000 + "\n")
    assert len(line.item["code"]) == 200_000


@pytest.mark.parametrize("header", ["code,wings", "code,code", '"co"de'])
def test_a_wrong_header_refuses_the_file(tmp_path: Path, header: str) -> None:
    with pytest.raises(BadRequest, match=r"a\.csv:1: ") as caught:
        read(tmp_path, "a.csv", header + "\nx,y\n")
    assert caught.value.code == "F610"


@pytest.mark.parametrize("length", [989, 990, 991, 2500, 3000])
def test_a_line_that_is_too_long_is_named_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(lines, "MAX_LINE", 1000)
    good, bad = '{"code": "a"}\n', '{"code": "%s"}\n' % ("b" * (length - 1))
    first, long, last = read(tmp_path, "a.jsonl", good + bad + good)
    assert (first.number, long.number, last.number) == (1, 2, 3) and first.item == last.item
    assert ("1000 characters" in long.error) == (len(bad) >= 1000)
    header, row = "code,n\n", f"{'b' * length}xxxxxxxxxx\n"
    long, last = read(tmp_path, "a.csv", header + row + "z,3\n")
    assert ("1000 characters" in long.error) == (len(row) >= 1000) and long.number == 2
    assert last == InputLine(3, {"code": "z", "n": 3})
    with pytest.raises(BadRequest, match=r"a\.csv:1: .*1000 characters"):
        read(tmp_path, "a.csv", "c" * length + "c" * 100)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"cannot read .*none\.jsonl: No such file"):
        list(read_lines(tmp_path / "none.jsonl", TYPES))
    with pytest.raises(BadRequest, match="Is a directory"):
        list(read_lines(tmp_path, TYPES))


def test_empty_files_have_no_lines(tmp_path: Path) -> None:
    assert read(tmp_path, "a.jsonl", "") == read(tmp_path, "a.csv", "") == []


@pytest.mark.thorough
def test_a_long_file_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    with file.open("w") as stream:
        stream.write("word\n")
        stream.writelines(f"w{n}\n" for n in range(200_000))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_lines(file, {"word": "string"})) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [900, 999, 1000, 1001, 2500])
def test_a_quoted_cell_is_whole_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(lines, "MAX_LINE", 1000)
    cell = "x\n" + "y" * (length - 4)
    first, *rest = read(tmp_path, "a.csv", f'code,n\n"{cell}",1\nz,3\n')
    assert first.number == 2 and bool(first.error) == (length >= 1000)
    assert first.error or first.item == {"code": cell, "n": 1}
    assert rest[-1].item == {"code": "z", "n": 3}
