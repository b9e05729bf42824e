"""What git says of a project: the same to everybody, and nothing that a repository names is run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.ship import origin

REPOSITORY = Path(__file__).parents[2]
ASK = """
import sys
from pathlib import Path
from forge_min.ship import origin
root = Path(sys.argv[1])
print(origin.commit(root), origin.source_date(root), origin.version(root))
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
    assert len(origin.commit(repository)) == 40
    assert origin.version(repository) == "1.2.0"
    (repository / "new.py").write_text("")
    assert origin.commit(repository).endswith("+changes")


def test_where_no_repository_is_the_commit_is_unknown(tmp_path: Path) -> None:
    assert (origin.commit(tmp_path), origin.version(tmp_path)) == ("unknown", "")
    assert origin.source_date(tmp_path) == "unknown"


def test_before_the_first_commit_it_is_unknown_too(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert (origin.commit(tmp_path), origin.source_date(tmp_path)) == ("unknown", "unknown")


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
    assert origin.commit(repository) == f"{made.strip()}+changes"
    assert origin.source_date(repository).endswith("+00:00")
    assert not ran.exists()


def test_git_is_asked_about_this_folder_whatever_the_environment_names(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = origin.commit(repository)
    other = committed(tmp_path / "other")
    (other / "b.py").write_text("")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "none"))
    assert origin.commit(repository) == mine


def test_what_one_user_does_not_want_to_see_is_a_change_all_the_same(repository: Path) -> None:
    git(repository, "config", "status.showUntrackedFiles", "no")
    (repository / "new.py").write_text("")
    assert origin.commit(repository).endswith("+changes")


@pytest.mark.parametrize(
    ("place", "text"), [(".git/config", "[core\n"), (".git/index", "no index of git")]
)
def test_a_repository_that_git_cannot_read_is_an_error(
    repository: Path, place: str, text: str
) -> None:
    (repository / place).write_text(text)
    with pytest.raises(BuildError, match="git") as caught:
        origin.commit(repository)
    assert caught.value.code == "F353"
