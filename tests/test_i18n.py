"""Messages speak the reader's language, and the template of all of them is complete.

Run as a script, this file writes forge_min/messages.pot anew.
"""

from __future__ import annotations

import ast
import re
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import forge_min
import pytest
from forge_min.errors import ConfigError
from forge_min.i18n import (
    LANGUAGES,
    current_language,
    gettext_noop,
    in_language,
    load,
    negotiate,
    text,
)
from forge_min.wsgi.problem import STATUSES
from hypothesis import given
from hypothesis import strategies as st

from catalogues import catalogues, write_catalogue

PACKAGE = Path(forge_min.__file__).parent
TEMPLATE = PACKAGE / "messages.pot"
HEAD = """\
# Messages of forge_min to the users of an application.
# Made from the source by `python tests/test_i18n.py`: change a sentence there.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"""
# Titles of problems: reason phrases of the standard library, in the words of each Python we run on.
TITLES = (
    "Bad Request|Unauthorized|Forbidden|Not Found|Method Not Allowed|Not Acceptable|Conflict"
    "|Precondition Failed|Request Entity Too Large|Content Too Large|Request-URI Too Long"
    "|URI Too Long|Unsupported Media Type|Unprocessable Entity|Unprocessable Content"
    "|Requested Range Not Satisfiable|Range Not Satisfiable"
    "|Precondition Required|Too Many Requests|Request Header Fields Too Large"
    "|Internal Server Error|Service Unavailable"
)
MANUAL = "app/manual.py"  # its sentences are in a table
PHRASES = TITLES.split("|")


# -- the template ----------------------------------------------------------------------------------


def sentences(source: str) -> Iterator[tuple[int, ast.expr, set[str] | None]]:
    """(line, first argument, names of the values; None where only marked) of each call of text and
    gettext_noop in a module.
    """
    tree = ast.parse(source)
    names = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level and node.module == "i18n"
        for alias in node.names
        if alias.name in ("text", "gettext_noop")
    }
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Name) and isinstance(node, ast.Call) and called.id in names:
            values = {k.arg or "**" for k in node.keywords}
            yield node.lineno, node.args[0], values if names[called.id] == "text" else None


def places(message: str) -> set[str]:
    return set(re.findall(r"\{([^{}]*)\}", message))


def modules() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), path.read_text("utf-8")


def manual_sentences() -> Iterator[str]:
    """The sentences of an application's own manual."""
    table = tomllib.loads((PACKAGE / "app" / "manual.toml").read_text("utf-8"))
    for entry in table.pop("runbook"):
        yield from (entry["title"], entry["text"])
    for sentences in table.values():
        yield from sentences.values()


def messages() -> dict[str, set[str]]:
    """message → the files that say it."""
    found: dict[str, set[str]] = {phrase: {"wsgi/problem.py"} for phrase in PHRASES}
    for name, source in modules():
        for _, message, _ in sentences(source):
            if isinstance(message, ast.Constant):
                found.setdefault(message.value, set()).add(name)
    table = tomllib.loads((PACKAGE / "db" / "errors.toml").read_text("utf-8"))
    words = tomllib.loads((PACKAGE / "html" / "templates" / "words.toml").read_text("utf-8"))
    for word in words.values():
        found.setdefault(word, set()).add("html/templates/words.toml")
    for sentence in manual_sentences():
        found.setdefault(sentence, set()).add("app/manual.toml")
    for rule in table["violation"].values():  # wsgi/problem.py shows a domain error's sentence
        found.setdefault(rule["message"], set()).add("db/errors.toml")
    return found


def quoted(message: str) -> str:
    return '"' + message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def template() -> str:
    entries = [HEAD]
    for message, files in sorted(messages().items()):
        flag = "#, python-brace-format\n" if places(message) else ""
        where = f"#: {' '.join(sorted(files))}\n"
        entries.append(f'{where}{flag}msgid {quoted(message)}\nmsgstr ""\n')
    return "\n".join(entries)


def test_the_template_lists_every_sentence_of_the_source_and_no_other() -> None:
    written = TEMPLATE.read_text("utf-8")
    assert len(messages()) > 150, "the sentences are not found"
    assert written == template(), "run python tests/test_i18n.py"


def test_every_sentence_is_a_literal_that_asks_for_the_values_that_it_is_given() -> None:
    breaches = []
    for name, source in modules():
        for line, message, values in sentences(source):
            if isinstance(message, ast.Constant):
                if values is not None and places(message.value) != values:
                    breaches.append(f"{name}:{line}: {message.value!r} is given {values}")
            elif name != MANUAL and values or isinstance(message, ast.JoinedStr | ast.BinOp):
                breaches.append(f"{name}:{line}: no literal")  # one of `gettext_noop` has no values
    assert breaches == []


def test_the_scan_sees_sentences_under_any_name_and_no_method_of_that_name() -> None:
    source = (
        "from ..i18n import gettext_noop, text as said\nimport schema\n"
        "x = said('a {b}', b=1)\ny = gettext_noop('c')\nz = schema.text('d')\n"
    )
    found = [(m.value, v) for _, m, v in sentences(source) if isinstance(m, ast.Constant)]
    assert found == [("a {b}", {"b"}), ("c", None)]


def test_every_status_that_an_error_has_is_titled_in_the_template() -> None:
    used = set(STATUSES.values()) | {405, 406, 413, 415, 500}
    assert {HTTPStatus(status).phrase for status in used} <= set(PHRASES)


# -- speaking --------------------------------------------------------------------------------------

GERMAN = {
    "must be at least {min}": "muss mindestens {min} sein",
    "is required": "fehlt",
    "must be at most {max}": "darf höchstens {most} sein",
}


@pytest.fixture
def german(tmp_path: Path) -> Iterator[None]:
    with catalogues(tmp_path, {"de": GERMAN}):
        yield


def test_without_catalogues_every_language_is_english() -> None:
    assert not LANGUAGES and negotiate("de, *;q=0.5") == ""
    with in_language("de"):
        assert text("must be at least {min}", min=3) == "must be at least 3"


def test_a_sentence_is_translated_then_filled(german: None) -> None:
    with in_language("de"):
        assert text("must be at least {min}", min=3) == "muss mindestens 3 sein"
        assert text("is required") == "fehlt"
    assert text("is required") == "is required"


def test_what_no_catalogue_has_stays_english(german: None) -> None:
    for language in ("de", "fr", ""):
        with in_language(language):
            assert text("must be {a}", a="{b}") == "must be {b}"
            assert text("") == "" and text("no {value}") == "no {value}"


def test_a_translation_that_asks_for_another_value_gives_way_to_english(german: None) -> None:
    with in_language("de"):
        assert text("must be at most {max}", max=5) == "must be at most 5"


@pytest.mark.parametrize(
    "wrong", ["{", "}", "{}", "{0}", "{max!r}", "{max:>9}", "{max.real}", "{{"]
)
def test_no_translation_can_raise_or_reach_into_a_value(wrong: str, tmp_path: Path) -> None:
    with catalogues(tmp_path, {"de": {"at most {max}": f"x {wrong}"}}), in_language("de"):
        assert text("at most {max}", max=5) in ("at most 5", f"x {wrong}")


def test_later_only_marks() -> None:
    assert gettext_noop("must be {a}") == "must be {a}"


def test_the_language_belongs_to_its_context(german: None) -> None:
    seen = []
    with in_language("de"):
        with in_language("fr"):
            assert current_language() == "fr"
        assert current_language() == "de"
        thread = threading.Thread(target=lambda: seen.append(current_language()))
        thread.start()
        thread.join()
    assert seen == [""] and current_language() == ""


# -- catalogues ------------------------------------------------------------------------------------


def loaded(folder: Path | zipfile.Path) -> tuple[str, ...]:
    load(folder)
    return tuple(LANGUAGES)


def test_languages_are_folders_and_other_names_are_left_alone(tmp_path: Path) -> None:
    for name in ("pt_BR", "de", "zh-Hant", "no language", "x" * 9):
        write_catalogue(tmp_path, name, {})
    (tmp_path / "fr").mkdir()
    (tmp_path / "de.po").write_text("")
    try:
        assert loaded(tmp_path) == ("de", "pt-br", "zh-hant")
        with in_language("pt_BR"):
            assert current_language() == "pt-br"
    finally:
        assert loaded(tmp_path / "missing") == ()


def test_catalogues_are_read_out_of_an_archive_too(tmp_path: Path) -> None:
    file = write_catalogue(tmp_path, "de", GERMAN)
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.write(file, "locale/de/LC_MESSAGES/messages.mo")
    with zipfile.ZipFile(tmp_path / "app.pyz") as archive:
        assert loaded(zipfile.Path(archive, "locale/")) == ("de",)
        assert loaded(zipfile.Path(archive, "none/")) == ()


@pytest.mark.parametrize("size", [0, 3, 20, 40, -1])
def test_a_broken_catalogue_is_named(size: int, tmp_path: Path) -> None:
    file = write_catalogue(tmp_path, "de", GERMAN)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ConfigError, match=r"messages\.mo") as caught:
        load(tmp_path)
    assert caught.value.code == "F639" and caught.value.hint


def test_a_default_language_is_for_those_who_accept_no_other(tmp_path: Path) -> None:
    for name in ("de", "fr"):
        write_catalogue(tmp_path, name, {})
    try:
        load(tmp_path, "de")
        chosen = [negotiate(accepted) for accepted in ("", "*", "it", "it, fr", "en", "en-GB, fr")]
        assert chosen == ["de", "de", "de", "fr", "", ""]
        with pytest.raises(ConfigError, match="no catalogue for 'it'; there are en, de, fr"):
            load(tmp_path, "it")
    finally:
        load(tmp_path / "missing")
    assert negotiate("it") == ""


def test_a_broken_catalogue_leaves_those_that_were_loaded(tmp_path: Path) -> None:
    with catalogues(tmp_path / "good", {"de": GERMAN}):
        write_catalogue(tmp_path / "bad", "fr", {}).write_bytes(b"")
        with pytest.raises(ConfigError):
            load(tmp_path / "bad")
        assert list(LANGUAGES) == ["de"]


# -- choosing (RFC 9110 section 12.5.4, RFC 4647 section 3.4) --------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> Iterator[None]:
    with catalogues(tmp_path, {"de": {}, "pt_BR": {}, "zh_Hant": {}}):
        yield


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", ""),
        ("de", "de"),
        ("DE-ch", "de"),
        ("de-CH-1996, en", "de"),
        ("pt_BR", "pt-br"),
        ("pt", "pt-br"),
        ("zh-Hant-TW", "zh-hant"),
        ("fr, de;q=0.3", "de"),
        ("fr;q=1, de;q=0.3, pt-BR;q=0.8", "pt-br"),
        ("de;q=0.5, pt-br;q=0.5", "de"),
        ("en, de", ""),
        ("en-GB, de;q=0.9", ""),
        ("de;q=0.9, en", ""),
        ("fr, es", ""),
        ("fr, *", ""),
        ("*, de;q=0.5", ""),
        ("de;q=0", ""),
        ("de;q=0, pt;q=0.1", "pt-br"),
        (" de ; q=0.5 ,, ; , pt-BR;q=2", "de"),
        ("de;level=1, pt", "pt-br"),
        (",".join(["fr"] * 30 + ["de"]), ""),
        ("f" * 1021 + ",de,it", "de"),  # only its first 1,024 characters are read
        ("f" * 1022 + ",de", ""),
    ],
)
def test_the_language_that_is_wanted_most_is_chosen(
    accepted: str, language: str, three: None
) -> None:
    assert negotiate(accepted) == language


@given(st.text(max_size=60) | st.from_regex(r"([a-z*]{1,3}(;q=[01.]{1,4})?[, -]{0,2}){1,9}"))
def test_any_header_chooses_a_known_language_or_english(accepted: str) -> None:
    assert negotiate(accepted) in ("", *LANGUAGES)


if __name__ == "__main__":
    TEMPLATE.write_text(template(), "utf-8")
