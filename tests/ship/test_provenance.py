"""What git says of a project: the same to everybody, and nothing that a repository names is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.ship import provenance

REPOSITORY = Path(__file__).parents[2]
ASK = """
import sys
from pathlib import Path
from forge_min.ship import provenance
root = Path(sys.argv[1])
print(provenance.commit(root), provenance.source_date(root), provenance.version(root))
"""


def git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.invalid")
    subprocess.run(["git", "-C", root, *who, *arguments], check=True)


def committed(root: Path) -> Path:
    """A repository whose one commit is version 1.2.0; git has to read its one file anew."""
    root.mkdir()
    (root / "app.py").write_text("x = 1\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    git(root, "tag", "v1.2.0")
    os.utime(root / "app.py", (1, 1))
    return root


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return committed(tmp_path / "shop")


@pytest.fixture
def open_repository() -> Iterator[Path]:
    """One below folders that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="forge-origin-") as folder:
        Path(folder).chmod(0o755)
        yield committed(Path(folder, "shop"))


def test_a_clean_repository_gives_its_commit_and_version(repository: Path) -> None:
    assert len(provenance.commit(repository)) == 40
    assert provenance.version(repository) == "1.2.0"
    (repository / "new.py").write_text("")
    assert provenance.commit(repository).endswith("+changes")


def test_where_no_repository_is_the_commit_is_unknown(tmp_path: Path) -> None:
    assert (provenance.commit(tmp_path), provenance.version(tmp_path)) == ("unknown", "")
    assert provenance.source_date(tmp_path) == "unknown"


def test_before_the_first_commit_it_is_unknown_too(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert (provenance.commit(tmp_path), provenance.source_date(tmp_path)) == ("unknown", "unknown")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_another_user_is_told_the_same(open_repository: Path) -> None:
    """git itself refuses a repository that belongs to somebody else."""

    def ask(*before: str) -> str:
        return subprocess.run(
            [*before, sys.executable, "-c", ASK, open_repository],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "HOME": "/nonexistent"},
            cwd="/",
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    other = ask("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    assert other == ask()
    assert "unknown" not in other and "+changes" not in other


def test_a_locale_without_utf8_is_told_the_same(tmp_path: Path) -> None:
    root = committed(tmp_path / "gr\u00f6\u00dfe")
    (root / "\u00e9.py").write_text("")
    git(root, "add", ".")
    git(root, "commit", "-qm", "second")
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    told = subprocess.run(
        [sys.executable, "-c", ASK, root],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **ascii_only},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout.split() == [
        provenance.commit(root), provenance.source_date(root), "1.2.0"
    ], told.stderr  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("core.fsmonitor", "{program}"),
        ("core.hooksPath", "{folder}"),
        ("filter.mine.clean", "{program}"),
        ("gpg.program", "{program}"),
    ],
)
def test_nothing_that_a_repository_names_is_run(
    repository: Path, tmp_path: Path, key: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(tmp_path))
    program, ran = tmp_path / "post-index-change", tmp_path / "ran"
    program.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n")
    program.chmod(0o755)
    (repository / ".gitattributes").write_text("app.py filter=mine\n")
    git(repository, "config", "log.showSignature", "true")
    git(repository, "config", key, value.format(program=program, folder=tmp_path))
    signed = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\nsigned\n"
    shown = ("git", "-C", str(repository), "cat-file", "commit", "HEAD")
    text = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    made = subprocess.run(
        ["git", "-C", repository, "hash-object", "-t", "commit", "-w", "--stdin"],
        input=text.partition("\n\n")[0] + "\n" + signed,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (repository / ".git" / "HEAD").write_text(made)
    os.utime(repository / "app.py", (2, 2))
    ran.unlink(missing_ok=True)
    assert provenance.commit(repository) == f"{made.strip()}+changes"
    assert provenance.source_date(repository).endswith("+00:00")
    assert not ran.exists()


def test_git_is_asked_about_this_folder_whatever_the_environment_names(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = provenance.commit(repository)
    other = committed(tmp_path / "other")
    (other / "b.py").write_text("")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "none"))
    assert provenance.commit(repository) == mine


def test_what_one_user_does_not_want_to_see_is_a_change_all_the_same(repository: Path) -> None:
    git(repository, "config", "status.showUntrackedFiles", "no")
    (repository / "new.py").write_text("")
    assert provenance.commit(repository).endswith("+changes")


@pytest.mark.parametrize(
    ("place", "text"), [(".git/config", "[core\n"), (".git/index", "no index of git")]
)
def test_a_repository_that_git_cannot_read_is_an_error(
    repository: Path, place: str, text: str
) -> None:
    (repository / place).write_text(text)
    with pytest.raises(BuildError, match="git") as caught:
        provenance.commit(repository)
    assert caught.value.code == "F353"


HARMS: list[Callable[[Path], object]] = [
    lambda root: (root / ".git" / "HEAD").rename(root / "away"),
    lambda root: (root / ".git" / "objects").rename(root / "away"),
    lambda root: (root / ".git" / "refs").rename(root / "away"),
    lambda root: next((root / ".git" / "refs" / "heads").iterdir()).unlink(),
    lambda root: next((root / ".git" / "refs" / "heads").iterdir()).write_text("no commit"),
    lambda root: shutil.rmtree(root / ".git") or (root / ".git").mkdir(),
    lambda root: (
        shutil.rmtree(root / ".git") or (root / ".git").write_text("gitdir: /nonexistent/x\n")
    ),
]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("folder", ["", "deep/er"])
def test_a_repository_that_lost_a_part_is_not_an_unknown_commit(
    repository: Path, harm: Callable[[Path], object], folder: str
) -> None:
    root = repository / folder
    root.mkdir(parents=True, exist_ok=True)
    harm(repository)
    for ask in (provenance.commit, provenance.source_date, provenance.version):
        with pytest.raises(BuildError, match="git cannot read") as caught:
            ask(root)
        assert caught.value.code == "F353"


def test_a_broken_repository_is_not_taken_for_the_one_around_it(repository: Path) -> None:
    inner = committed(repository / "inner")
    (inner / ".git" / "HEAD").unlink()
    with pytest.raises(BuildError, match="it reads the repository of") as caught:
        provenance.commit(inner)
    assert caught.value.code == "F353"


def test_without_git_a_repository_is_an_error_of_its_own(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for ask in (provenance.commit, provenance.source_date):
        with pytest.raises(BuildError, match="git is not installed") as caught:
            ask(repository)
        assert caught.value.code == "F353" and "install git" in (caught.value.hint or "")
    assert provenance.version(repository) == ""  # development needs no git
    (tmp_path / "apart").mkdir()
    assert provenance.commit(tmp_path / "apart") == "unknown"


@pytest.mark.parametrize("place", [".git/info/exclude", ".gitignore"])
def test_a_file_that_git_ignores_is_a_change_where_an_artifact_is_made_of_it(
    repository: Path, place: str
) -> None:
    with (repository / place).open("a") as file:
        file.write("*.local\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "second", "--allow-empty")
    (repository / "a.local").write_text("never committed")
    assert len(provenance.commit(repository, ["app.py"])) == 40
    assert provenance.commit(repository, ["app.py", "a.local"]).endswith("+changes")
    git(repository, "add", "-f", "a.local")
    git(repository, "commit", "-qm", "third")
    assert len(provenance.commit(repository, ["app.py", "a.local"])) == 40


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_was_told_not_to_look_at_is_a_change(repository: Path, flag: str) -> None:
    git(repository, "update-index", flag, "app.py")
    (repository / "app.py").write_text("x = 2\n")
    assert provenance.commit(repository, ["app.py"]).endswith("+changes")


def test_what_was_put_in_the_place_of_a_commit_is_a_change(repository: Path) -> None:
    mine = provenance.commit(repository)
    (repository / "app.py").write_text("x = 2\n")
    git(repository, "commit", "-qam", "second")
    git(repository, "replace", mine, "HEAD")
    git(repository, "reset", "-q", "--soft", mine)
    assert provenance.commit(repository) == f"{mine}+changes"


def test_a_folder_of_what_a_build_makes_counts_where_an_artifact_is_made_of_it(
    repository: Path,
) -> None:
    (repository / "dist").mkdir()
    (repository / "dist" / "shop.pyz").write_text("")
    assert len(provenance.commit(repository, ["app.py"])) == 40
    assert provenance.commit(repository, ["app.py", "dist/shop.pyz"]).endswith("+changes")


def test_the_settings_of_a_user_change_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "git").mkdir(parents=True)
    (home / ".gitconfig").write_text(
        "[core]\n\tautocrlf = true\n\tfileMode = false\n[status]\n\tshowUntrackedFiles = no\n"
    )
    (home / "git" / "ignore").write_text("*.local\n")
    (home / "git" / "attributes").write_text("*.py text eol=crlf\n")
    (repository / "crlf.py").write_bytes(b"x = 1\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "second")
    (repository / "crlf.py").write_bytes(b"x = 1\r\n")
    theirs = provenance.commit(repository)
    (repository / "crlf.py").write_bytes(b"x = 1\n")
    (repository / "a.local").write_text("")
    also = provenance.commit(repository)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    assert provenance.commit(repository) == also == theirs
    (repository / "a.local").unlink()
    (repository / "crlf.py").write_bytes(b"x = 1\r\n")
    assert provenance.commit(repository) == theirs
    assert theirs.endswith("+changes")


def test_the_files_of_a_submodule_are_known(repository: Path) -> None:
    theirs = committed(repository.parent / "theirs")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", theirs, "sub")
    git(repository, "config", "-f", ".gitmodules", "submodule.sub.ignore", "all")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "second")
    assert len(provenance.commit(repository, ["app.py", "sub/app.py"])) == 40
    (repository / "sub" / "app.py").write_text("x = 2\n")
    assert provenance.commit(repository).endswith("+changes")
