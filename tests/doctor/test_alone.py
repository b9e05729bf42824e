"""What doctor asks without any other part of a site: one check at a time, files, configuration,
secrets, the machine, and the report.
"""

from __future__ import annotations

import json
import re
import resource
import secrets
import shutil
import time
import zipfile
from asyncio import CancelledError
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from forge_min.doctor import DoctorReport, Finding, check_environment, codes, new_finding, run_check
from forge_min.doctor.configuration import weakness
from forge_min.doctor.database.server import check_passwords
from forge_min.doctor.machine import check_free_space, enough_files
from forge_min.errors import ConfigError
from forge_min.manifest import INFO, NAME, Manifest

from .conftest import MakeSite, of, states

GOOD = sha256(b"doctor").hexdigest()  # the same in every process of a run


# -- one check at a time ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), ConfigError("no", hint="do")])
def test_a_check_that_raises_is_a_failure_and_what_it_had_found_counts(
    error: BaseException,
) -> None:
    def look() -> Iterator[Finding]:
        yield new_finding("D101", "ok", "first")
        raise error

    first, second = run_check("D402", look)
    assert (first.message, second.state, second.code) == ("first", "failed", "D402")
    assert str(error) in second.message and second.why and second.next


def test_a_check_that_takes_too_long_is_ended_and_leaves_no_alarm() -> None:
    def look() -> Iterator[Finding]:
        while True:
            try:
                time.sleep(60)
            except Exception:  # as somebody's code may
                yield new_finding("D401", "ok", "caught")

    (one,) = run_check("D401", look, 0.05)  # without an end to it, this would not return
    assert one.state == "failed" and "within 0.05 s" in one.message
    assert run_check("D401", lambda: [new_finding("D401", "ok", "fast")], 0.05)[0].state == "ok"
    time.sleep(0.1)  # an alarm that was left behind would end the test here


def test_what_raises_no_exception_is_a_failure_and_ctrl_c_is_none() -> None:
    def look(end: BaseException) -> Iterator[Finding]:
        yield new_finding("D101", "ok", "first")
        raise end

    _, one = run_check("D402", partial(look, CancelledError()))
    assert (one.state, one.message) == ("failed", "CancelledError")
    with pytest.raises(KeyboardInterrupt):
        run_check("D402", partial(look, KeyboardInterrupt()))


def test_every_code_has_its_reason_and_its_command() -> None:
    for code, row in codes().items():
        assert row.keys() == {"title", "text", "next"} and all(row.values()), code


# -- files -----------------------------------------------------------------------------------------


def members() -> dict[str, bytes]:
    given = {"a.py": b"x = 1\n", "static/b.css": b"b" * 5000, "_native/c.so": b"so"}
    manifest = Manifest.of(given)
    info = json.dumps({"manifest": manifest.digest}).encode()
    return given | {NAME: manifest.write().encode(), INFO: info}


def written(folder: Path, files: dict[str, bytes], *, zipped: bool) -> Path:
    if zipped:
        with zipfile.ZipFile(folder / "a.pyz", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return folder / "a.pyz"
    for name, data in files.items():
        (folder / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "a" / name).write_bytes(data)
    return folder / "a"


@pytest.mark.parametrize("zipped", [True, False])
def test_each_altered_missing_and_added_member_is_named(
    zipped: bool, tmp_path: Path, make_site: MakeSite
) -> None:
    site = make_site(artifact=written(tmp_path, members(), zipped=zipped))
    assert (
        states(check_environment(site))["D201"] == states(check_environment(site))["D202"] == "ok"
    )
    wrong = members() | {"a.py": b"x = 2\n", "sitecustomize.py": b""}
    del wrong["static/b.css"]
    (tmp_path / "other").mkdir()
    told = check_environment(make_site(artifact=written(tmp_path / "other", wrong, zipped=zipped)))
    assert of(told, "D201").state == of(told, "D202").state == "failed"
    assert "a.py (altered), static/b.css (missing)" in of(told, "D201").message
    assert of(told, "D202").message == "not in the manifest: sitecustomize.py"


def test_a_manifest_made_anew_for_altered_members_is_seen(
    tmp_path: Path, make_site: MakeSite
) -> None:
    files = members() | {"a.py": b"x = 2\n"}
    files[NAME] = Manifest.of(files).write().encode()
    told = check_environment(make_site(artifact=written(tmp_path, files, zipped=True)))
    assert of(told, "D201").message.endswith(f"{NAME} (not the one of {INFO})")


def test_a_damaged_stream_is_named_and_the_others_are_looked_at(
    tmp_path: Path, make_site: MakeSite
) -> None:
    path = written(tmp_path, members(), zipped=True)
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("static/b.css").header_offset
    data = bytearray(path.read_bytes())
    place = offset + 30 + len("static/b.css") + 3
    data[place] ^= 0xFF
    path.write_bytes(data)
    one = of(check_environment(make_site(artifact=path)), "D201")
    assert one.message == "not as they were built: static/b.css (unreadable)"


def test_unpacked_parts_are_compared_with_the_artifact(tmp_path: Path, make_site: MakeSite) -> None:
    artifact = written(tmp_path, members(), zipped=True)
    native = tmp_path / "cache" / "digest" / "_native"
    native.mkdir(parents=True)
    (native / "c.so").write_bytes(b"so")
    site = make_site(artifact=artifact, native=native)
    assert of(check_environment(site), "D203").state == "ok"
    (native / "c.so").write_bytes(b"SO")
    (native / "d.so").write_bytes(b"")
    one = of(check_environment(site), "D203")
    assert one.state == "failed" and "_native/c.so, _native/d.so" in one.message
    assert one.next == f"rm -r {native.parent}"


# -- configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("short", "fewer than 32"),
        ("a" * 40, "too few different"),
        ("passwordpasswordpasswordpassword", "too few different"),
        ("a99az9z99a9azz9aa9z99zz9aa9a9z9a9", "too few different"),
    ],
)
def test_a_secret_that_can_be_guessed_is_told_without_it(
    secret: str, why: str, make_site: MakeSite
) -> None:
    assert why in weakness(secret, 32)
    for profile, state in (("dev", "warning"), ("prod", "failed")):
        site = make_site("", {"auth.secret": secret}, profile=profile)
        told = check_environment(site)
        assert of(told, "D303").state == state and why in of(told, "D303").message
        assert secret not in str(told)


def test_random_secrets_are_good() -> None:
    for _ in range(2000):
        for made in (secrets.token_hex(16), secrets.token_hex(32), secrets.token_urlsafe(24)):
            assert weakness(made, 32) == "", made


def test_no_secret_is_fine_in_development_alone(make_site: MakeSite) -> None:
    assert of(check_environment(make_site()), "D303").state == "ok"
    assert of(check_environment(make_site(profile="prod")), "D303").state == "failed"


@pytest.mark.parametrize(
    ("host", "token", "dev", "prod"),
    [
        ("127.0.0.1", "", "ok", "ok"),
        ("::1", "", "ok", "ok"),
        ("0.0.0.0", "", "failed", "failed"),
        ("admin.example", "", "failed", "failed"),
        ("0.0.0.0", "letme-letme-letme", "warning", "failed"),
        ("127.0.0.1", "letme-letme-letme", "ok", "warning"),
        ("0.0.0.0", GOOD[:48], "ok", "ok"),
    ],
)
def test_the_admin_server_needs_a_token_off_loopback(
    host: str, token: str, dev: str, prod: str, make_site: MakeSite
) -> None:
    for profile, state in (("dev", dev), ("prod", prod)):
        site = make_site("", {"admin.host": host, "admin.token": token}, profile=profile)
        told = check_environment(site)
        assert of(told, "D304").state == state
        assert not token or token not in str(told)


def test_passwords_of_the_database_that_are_guessed_first_are_told(make_site: MakeSite) -> None:
    for url in (
        "postgresql://shop:password@db/shop",
        "host=db user=shop password=postgres dbname=shop",
        "postgresql://shop-app:shop-app@db/shop",
    ):
        one = of(list(check_passwords(make_site(url, profile="prod"))), "D305")
        assert one.state == "warning" and "database.url" in one.message
        assert of(list(check_passwords(make_site(url))), "D305").state == "ok"
    good = f"postgresql://shop:{GOOD}@db/shop"
    told = list(check_passwords(make_site(good, profile="prod")))
    assert of(told, "D305").state == "ok" and GOOD not in str(told)


@pytest.mark.parametrize(
    ("url", "state", "said"),
    [
        (
            f"host=db user=shop password='{GOOD[:5]} {GOOD[5:]}'",
            "ok",
            "no password is easy to guess",
        ),
        (f"host=db user=shop password = 'a\\'{GOOD}'", "ok", "no password is easy to guess"),
        (f"host=db password=a\\ {GOOD} user=shop", "ok", "no password is easy to guess"),
        ("postgresql://bookkeeping@db/shop?password=bookkeeping", "warning", "role's name"),
        ("postgresql://bookkeeping:@db/shop?password=bookkeeping", "warning", "role's name"),
        ("host=db user='book keeping' password='book keeping'", "warning", "role's name"),
    ],
)
def test_a_password_is_read_as_libpq_reads_it(
    make_site: MakeSite, url: str, state: str, said: str
) -> None:
    one = of(list(check_passwords(make_site(url, profile="prod"))), "D305")
    assert one.state == state and said in one.message


def test_production_is_asked_for_more(make_site: MakeSite) -> None:
    settings: dict[str, Any] = {
        "auth.secret": GOOD,
        "api.cors_origins": ("*",),
        "observe.log_level": "debug",
        "server.trusted_proxies": ("0.0.0.0/0", "unix"),
    }
    sources = {"server.trusted_proxies": "forge.toml:2"}
    dev = states(check_environment(make_site("", settings)))
    findings = check_environment(
        make_site("", settings, "production", profile="prod", sources=sources)
    )
    prod = states(findings)
    (wordy,) = [one for one in findings if one.code == "D307" and one.state == "warning"]
    assert "config --sources" in wordy.next, "the mode is production already"
    assert [dev[c] for c in ("D306", "D307", "D308")] == ["warning", "ok", "ok"]
    assert [prod[c] for c in ("D306", "D307", "D308")] == ["failed", "warning", "warning"]
    assert states(check_environment(make_site("", settings, profile="prod")))["D307"] == "failed"


@pytest.mark.parametrize(
    "host, proxies, source, state, said",
    [
        ("127.0.0.1", (), "default", "failed", "server.trusted_proxies is not set"),
        ("0.0.0.0", (), "default", "failed", "without HTTPS"),
        ("0.0.0.0", (), "forge.toml:3", "warning", "without HTTPS"),
        ("127.0.0.1", (), "forge.toml:3", "ok", "none"),
        ("0.0.0.0", ("10.0.0.1",), "FORGE_SERVER_TRUSTED_PROXIES", "ok", "10.0.0.1"),
    ],
)
def test_a_proxy_is_named_or_left_out_on_purpose(
    make_site: MakeSite, host: str, proxies: tuple[str, ...], source: str, state: str, said: str
) -> None:
    settings = {"server.host": host, "server.trusted_proxies": proxies}
    sources = {"server.trusted_proxies": source}
    one = of(check_environment(make_site("", settings, profile="prod", sources=sources)), "D308")
    assert one.state == state and said in one.message
    assert bool(one.next) == (state != "ok")
    assert states(check_environment(make_site("", settings, sources=sources)))["D308"] == "ok"


def test_every_mistake_and_warning_of_the_configuration_is_one_finding(
    make_site: MakeSite,
) -> None:
    mistakes = [ConfigError("a is no number", hint="give digits"), ConfigError("b is unknown")]
    told = check_environment(
        make_site(mistakes=mistakes, warnings=["FORGE_SEVER_PORT is not known"])
    )
    messages = [one.message for one in told if one.code == "D301"]
    assert messages == ["a is no number (give digits)", "b is unknown"]
    assert states(told)["D301"] == "failed" and of(told, "D302").state == "warning"


# -- the machine -----------------------------------------------------------------------------------


def test_a_disk_that_is_nearly_full_warns_and_a_full_one_fails(tmp_path: Path) -> None:
    assert check_free_space(tmp_path, 1 << 40, 10).state == "ok"
    assert check_free_space(tmp_path, 100 << 20, 10).state == "warning"
    assert check_free_space(tmp_path, 1 << 20, 10).state == "failed"
    assert check_free_space(tmp_path, 1 << 40, 0).state == "failed"
    one = check_free_space(tmp_path, 1 << 40, 10, writable=False)
    assert one.state == "warning" and one.next == f"ls -ld {tmp_path}"


def test_a_folder_that_is_not_there_is_named_with_what_to_type(
    tmp_path: Path, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "not there"
    monkeypatch.setenv("TMPDIR", str(gone))
    one = of(check_environment(make_site()), "D401")
    assert one.state == "failed" and one.message == f"{gone}: No such file or directory"
    assert one.next == f"ls -ld '{gone}'"


def test_a_limit_of_files_below_the_caps_is_told_in_production(make_site: MakeSite) -> None:
    # Each connection may be a slow reader of a large file: a socket and the file.
    few = {"server.max_connections": 100, "sse.max_connections": 500, "server.threads": 8}
    site = make_site("", few, profile="prod")
    assert enough_files(site, 808, 808).state == "ok"
    one = enough_files(site, 807, 807)
    assert one.state == "warning" and one.next == "ulimit -n 808" and "superuser" in one.message
    assert "superuser" not in enough_files(site, 807, 1024).message
    assert enough_files(make_site("", few), 807, 1024).state == "ok"


def test_the_room_that_is_told_is_that_of_the_disk(
    tmp_path: Path, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path, Path("/dev/shm"), Path("/proc")]
    for place in places:
        monkeypatch.setenv("TMPDIR", str(place))
        free = shutil.disk_usage(place).free / (1 << 30)
        one = of(check_environment(make_site()), "D401")
        told = re.match(r"(\d+\.\d) GiB free at (.*)", one.message)
        assert told and told[2] == str(place), one
        assert float(told[1]) == pytest.approx(free, rel=0.2, abs=0.3)
    assert one.state == "failed"  # there is no room in /proc


def test_the_limit_of_files_that_is_told_is_that_of_the_process(make_site: MakeSite) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for few in (300, 301):
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
        try:
            one = of(check_environment(make_site(profile="prod")), "D402")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert one.state == "warning" and one.message.startswith(f"a process may open {few} files;")


# -- the report ------------------------------------------------------------------------------------


def test_the_report_is_grouped_and_tells_what_to_type_here() -> None:
    results = [
        new_finding("D510", "failed", "not applied: a"),
        new_finding("D101", "ok", "3"),
        new_finding("D211", "warning", "stale"),
        new_finding("D502", "skipped", "no database"),
    ]
    report = DoctorReport(results, "prod", strict=False, command="python3 dist/shop.pyz")
    lines = list(report.lines(colour=False))
    assert lines[:2] == ["program", "  ok       D101  Python: 3"]
    assert "                 next: python3 dist/shop.pyz migrate up" in lines
    assert "                 next: forge-min generate" in lines
    assert lines[-1] == "1 failed, 1 warning, 1 skipped, 1 ok (profile prod)"
    assert all(len(line) <= 100 and "\x1b" not in line for line in lines)
    lines = list(report.lines(colour=True))
    assert any("\x1b[31mfailed " in line for line in lines)
    links = re.findall(r"\x1b\]8;;file://([^#]+)#(\w+)\x1b\\(\w+)\x1b\]8;;\x1b\\", "".join(lines))
    assert links and all(section == code.lower() for _, section, code in links)
    assert all(f'id="{section}"' in Path(page).read_text("utf-8") for page, section, _ in links)
    document = json.loads(json.dumps(report.document()))
    assert [one["code"] for one in document["findings"]] == ["D101", "D211", "D502", "D510"]
    assert document["counts"] == {"failed": 1, "warning": 1, "skipped": 1, "ok": 1}
    assert document["findings"][3].keys() == {
        "code", "subject", "state", "message", "why", "next",
    }  # fmt: skip


def test_what_was_found_begins_no_line_of_its_own_and_moves_no_cursor() -> None:
    one = new_finding(
        "D401", "failed", "a\x1b[31m\n  ok \udc80\x85", path="/x\n  ok       D101  fine"
    )
    lines = list(DoctorReport([one], "dev", strict=False).lines(colour=False))
    assert all(line.isprintable() for line in lines) and "".join(lines).encode()
    assert lines[1] == "  failed   D401  disk: a\\x1b[31m\\n  ok \\udc80\\x85"
    assert lines[-2].endswith("next: df -h /x\\n  ok       D101  fine")


def test_strict_counts_warnings() -> None:
    warned = [new_finding("D101", "warning", "new")]
    assert (
        DoctorReport(warned, "dev", strict=False).good
        and not DoctorReport(warned, "dev", strict=True).good
    )
    assert not DoctorReport([new_finding("D101", "failed", "old")], "dev", strict=False).good
    assert DoctorReport([new_finding("D501", "skipped", "")], "dev", strict=True).good
