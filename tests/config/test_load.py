"""Loading: what wins, what is refused, and that nothing secret is shown."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from forge_min.config import TABLE, Config, inspect, load
from forge_min.config.settings import mask_address
from forge_min.errors import ConfigError, ErrorGroup
from hypothesis import given
from hypothesis import strategies as st

GOOD = {
    "text": ("other", "other"),
    "int": ("99", 99),
    "float": ("0.5", 0.5),
    "bool": ("false", False),
    "duration": ("3s", 3.0),
    "size": ("2KiB", 2048),
    "list": ('["10.0.0.0/8"]', ("10.0.0.0/8",)),
    "table": ("{}", {}),
}
SPECIAL = {
    "project.color": ("#0b5cad", "#0b5cad"),
    "database.url": ("postgresql://me@host/db", "postgresql://me@host/db"),
    "database.migrate_url": ("postgresql://o@host/db", "postgresql://o@host/db"),
    "database.direct_url": ("host=/tmp dbname=x", "host=/tmp dbname=x"),
    "database.prepare": ("off", "off"),
    "admin.host": ("127.0.0.2", "127.0.0.2"),
    "jobs.queues": ("{mail = 2}", {"mail": 2}),
    "jobs.rescue_after": ("6s", 6.0),
    "notify.hub": ("postgres", "postgres"),
    "observe.log_level": ("debug", "debug"),
    "observe.log_format": ("json", "json"),
    "observe.otlp_endpoint": ("http://collector:4318", "http://collector:4318"),
    "tenancy.strategy": ("header", "header"),
    "api.prefix": ("/v2", "/v2"),
    "project.url": ("https://shop.example", "https://shop.example"),
    "mail.url": ("smtps://mail.example", "smtps://mail.example"),
    "mail.from": ("Shop <a@shop.example>", "Shop <a@shop.example>"),
    "project.time_zone": ("Europe/Berlin", "Europe/Berlin"),
    "api.cors_origins": ('["https://a.example"]', ("https://a.example",)),
    "database.replica_urls": ('["postgresql://a@b/c"]', ("postgresql://a@b/c",)),
}


class Archive:
    """The folder of a project, inside an artifact: its forge.toml has this text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __truediv__(self, name: str) -> Archive:
        return self

    def read_text(self, encoding: str) -> str:
        return self.text


def errors_of(environ: dict[str, str], text: str = "") -> list[ConfigError]:
    with pytest.raises(ErrorGroup) as caught:
        load(Archive(text), environ)
    assert all(isinstance(error, ConfigError) for error in caught.value.errors)
    return list(caught.value.errors)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", TABLE, ids=lambda key: key.name)
def test_every_key_is_set_by_its_variable(key) -> None:
    raw, value = SPECIAL.get(key.name, GOOD[key.type])
    config = load(None, {key.variable: raw})
    section, name = key.name.split(".")
    assert config[key.name] == value
    assert getattr(getattr(config, section), name) == value
    assert config.sources[key.name] == key.variable
    others = {k: s for k, s in config.sources.items() if k != key.name}
    origins = ("database.url", "database.direct_url", "project.name")  # of what others follow from
    assert set(others.values()) == {"default"} | {
        key.variable for name in origins if key.name == name
    }


@pytest.mark.parametrize("key", TABLE, ids=lambda key: key.name)
def test_every_key_is_set_by_the_file_and_the_variable_wins(key) -> None:
    section, name = key.name.split(".")
    raw, value = SPECIAL.get(key.name, GOOD[key.type])
    toml = raw if key.type in ("int", "float", "bool", "list", "table") else json.dumps(raw)
    text = f"# a comment\n[{section}]\n{name} = {toml}\n"
    config = load(Archive(text), {})
    assert config[key.name] == value
    assert config.sources[key.name] == "forge.toml:3"
    default = json.dumps(key.default) if key.type in ("list", "bool") else str(key.default)
    if key.type != "table":
        won = load(Archive(text), {key.variable: default})
        assert won.sources[key.name] == key.variable


@pytest.mark.parametrize(
    ("alias", "key", "raw"),
    [
        ("DATABASE_URL", "database.url", "postgresql://a@b/c"),
        ("PORT", "server.port", "8123"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "observe.otlp_endpoint", "http://o:4318"),
        ("FORGE_OTEL_ENDPOINT", "observe.otlp_endpoint", "http://f:4318"),
        ("FORGE_SSE_MAX_TOTAL_CONNECTIONS", "sse.max_connections", "7"),
        ("FORGE_LOG_LEVEL", "observe.log_level", "error"),
        ("FORGE_LOG_FORMAT", "observe.log_format", "json"),
    ],
)
def test_an_alias_sets_its_key_and_the_full_name_wins(alias: str, key: str, raw: str) -> None:
    config = load(None, {alias: raw})
    assert str(config[key]) == raw
    assert config.sources[key] == alias
    assert config.warnings == ()
    variable = next(k for k in TABLE if k.name == key).variable
    both = load(None, {alias: "nonsense", variable: raw})
    assert str(both[key]) == raw and both.sources[key] == variable


def test_all_bad_values_are_reported_at_once_with_their_places() -> None:
    environ = {"FORGE_SERVER_PORT": "eighty", "FORGE_JOBS_ENABLED": "maybe", "PORT": "1"}
    text = '[sse]\nheartbeat = "soon"\n\n[server]\nthreads = 0\nmax_body = true\n'
    messages = [error.message for error in errors_of(environ, text)]
    assert [message.partition(": ")[0] for message in messages] == [
        "forge.toml:2",
        "forge.toml:5",
        "forge.toml:6",
        "FORGE_SERVER_PORT",
        "FORGE_JOBS_ENABLED",
    ]
    assert "'eighty'" in messages[3] and "whole number" in messages[3]
    assert all(error.hint for error in errors_of(environ, text))


@pytest.mark.parametrize(
    ("variable", "raw"),
    [
        ("FORGE_SERVER_PORT", "65536"),
        ("FORGE_SERVER_PORT", "-1"),
        ("FORGE_SERVER_PORT", ""),
        ("FORGE_SERVER_PORT", "9" * 5000),
        ("FORGE_SERVER_PORT", "٨٠"),
        ("FORGE_SERVER_THREADS", "0"),
        ("FORGE_SSE_HEARTBEAT", "0"),
        ("FORGE_SSE_HEARTBEAT", "15"),
        ("FORGE_SSE_HEARTBEAT", "15 s"),
        ("FORGE_SSE_HEARTBEAT", "-1s"),
        ("FORGE_SSE_HEARTBEAT", "99999999d"),
        ("FORGE_SERVER_MAX_BODY", "lots"),
        ("FORGE_SERVER_MAX_BODY", "-1"),
        ("FORGE_OBSERVE_SAMPLE_RATIO", "1.5"),
        ("FORGE_OBSERVE_SAMPLE_RATIO", "nan"),
        ("FORGE_OBSERVE_LOG_LEVEL", "loud"),
        ("FORGE_JOBS_QUEUES", "default=10"),
        ("FORGE_JOBS_QUEUES", "{}"),
        ("FORGE_JOBS_QUEUES", "{default = 0}"),
        ("FORGE_JOBS_QUEUES", '{default = "x"}'),
        ("FORGE_JOBS_QUEUES", "{default = 1}\nother = 2"),
        ("FORGE_AUTH_ROLES", "admin"),
        ("FORGE_AUTH_ROLES", "[1]"),
        ("FORGE_SERVER_TRUSTED_PROXIES", '["10.0.0.0/99"]'),
        ("FORGE_API_PREFIX", "api"),
        ("FORGE_API_PREFIX", "/api/"),
        ("FORGE_API_RATE_LIMIT", '{default = "many"}'),
        ("FORGE_DATABASE_URL", "mysql://x"),
        ("FORGE_OBSERVE_OTLP_ENDPOINT", "collector:4318"),
        ("FORGE_OBSERVE_OTLP_ENDPOINT", "ftp://x"),
        ("FORGE_OBSERVE_OTLP_ENDPOINT", "http://"),
        ("FORGE_TENANCY_DOMAIN", ".shop.example"),
        ("FORGE_TENANCY_DOMAIN", "shop.example:8000"),
        ("FORGE_SERVER_HOST", "a\0b"),
        ("FORGE_SERVER_HOST", "\xfc" * 64),
        ("FORGE_ADMIN_HOST", "\udc80"),
        ("FORGE_ENV", "prod"),
        ("FORGE_DATABASE_STATEMENT_TIMEOUT", "25d"),  # PostgreSQL's most are 31 bits of ms
        ("FORGE_DATABASE_LOCK_TIMEOUT", "25d"),
        ("FORGE_JOBS_POLL_INTERVAL", "25d"),  # as are poll(2)'s
        ("FORGE_JOBS_RESCUE_AFTER", "25d"),
        ("FORGE_SSE_MAX_CONNECTIONS", "2147483648"),  # the limiter's
        ("FORGE_SSE_MAX_PER_USER", "2147483648"),
    ],
)
def test_a_value_outside_its_type_or_range_is_one_error_naming_it(variable: str, raw: str) -> None:
    (error,) = errors_of({variable: raw})
    assert error.code == "F200"
    assert variable in error.message


def test_unknown_keys_and_sections_of_the_file_are_errors_with_a_suggestion() -> None:
    text = "[server]\nprot = 1\n\n[sever]\nport = 1\n"
    first, second = errors_of({}, text + 'loose = "x"\n')
    assert (first.code, second.code) == ("F201", "F201")
    assert "forge.toml:2" in first.message and "'port'" in (first.hint or "")
    assert "forge.toml:4" in second.message and "'server'" in (second.hint or "")


def test_a_section_that_is_no_table_is_an_error() -> None:
    (error,) = errors_of({}, "\nserver = 8000\n")
    assert error.code == "F201" and "forge.toml:2" in error.message
    assert error.hint == "write [server], and its keys on the lines below"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[server]\n\nport = 'x'\n", 3),
        ("server.port = 'x'\n", 1),
        ("\nserver = {port = 'x'}\n", 2),
        ('[sse]\n[ "server" ]\n"port" = "x"\n', 3),
        ("[api]\nprefix = '/v1'\n# port = 1\n[server]\nhost = 'port = 2'\nport = 'x'\n", 6),
    ],
)
def test_the_line_of_a_bad_value_is_found(text: str, line: int) -> None:
    (error,) = errors_of({}, text)
    assert error.message.startswith(f"forge.toml:{line}: server.port")


@pytest.mark.parametrize(
    ("text", "line"),
    [("x = " + "[" * 5000, 1), ("[server\nport = 1", 1), ("[a]\nx = \n", 2), ("[a]\n\nx = '''", 3)],
)
def test_broken_toml_is_one_error_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Archive(text), {"FORGE_SERVER_PORT": "8080"})
    assert caught.value.code == "F202"
    assert caught.value.message.startswith(f"forge.toml:{line}:")


LONG = "9" * 5_000
LONG_HEX = "0x" + "f" * 5_000


@pytest.mark.parametrize("number", [LONG, "-" + LONG, f"[1, {LONG}]", f"{{a = {LONG}}}"])
def test_a_number_of_thousands_of_digits_in_the_file_is_an_error(number: str) -> None:
    text = f"[project]\nname = 'a'\n[server]\nport = {number}\nhost = 'a'\n"
    with pytest.raises(ConfigError) as caught:
        load(Archive(text), {})
    assert caught.value.code == "F202" and caught.value.message.startswith("forge.toml:")
    _, errors = inspect(Archive(text), {})
    assert [error.code for error in errors] == ["F202"]


@pytest.mark.parametrize("raw", [LONG, LONG_HEX, f"[{LONG_HEX}]", f"{{a = {LONG_HEX}}}"])
@pytest.mark.parametrize("key", TABLE, ids=lambda key: key.name)
def test_such_a_number_is_one_error_for_any_key_or_none_for_a_text(key: Any, raw: str) -> None:
    for environ, text in (
        ({key.variable: raw}, ""),
        ({}, "[{}]\n{} = {}\n".format(*key.name.split("."), raw)),
    ):
        if text and LONG in raw:
            continue
        _, errors = inspect(Archive(text), environ)
        assert all(e.code in ("F200", "F203") and len(e.message) < 300 for e in errors)
        assert errors or key.type in ("text", "table")


@pytest.mark.parametrize("key", [key for key in TABLE if key.type in ("text", "list", "table")])
def test_a_text_that_is_no_utf_8_is_refused(key: Any) -> None:
    bad = b"ab\xff".decode("utf-8", "surrogateescape")
    shapes = {"list": f'["a", "{bad}"]', "table": f'{{"{bad}" = 1}}'}
    texts = [shapes.get(key.type, bad)]
    if key.type == "table":
        texts += [f'{{a = "{bad}"}}', f'{{a = {{b = ["{bad}"]}}}}']
    for text in texts:
        errors = errors_of({key.variable: text})
        assert errors[0].code == "F200" and f"{key.variable}: {key.name}" in errors[0].message
        errors[0].message.encode()


def test_the_file_of_the_project_is_read_and_forge_config_names_another(tmp_path: Path) -> None:
    (tmp_path / "forge.toml").write_text("[server]\nport = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("[server]\nthreads = 2\n")
    assert load(tmp_path, {}).server.port == 1
    config = load(tmp_path, {"FORGE_CONFIG": str(other)})
    assert (config.server.port, config.server.threads) == (8000, 2)
    assert config.sources["server.threads"] == f"{other}:2"


def test_beside_a_broken_file_the_variables_are_told_too(tmp_path: Path) -> None:
    (tmp_path / "forge.toml").write_text("[server\nport = 1")
    wrong = {
        "FORGE_SERVER_PORT": "x",
        "FORGE_JOBS_POLL_INTERVAL": "soon",
        "FORGE_ENV": "production",
    }
    with pytest.raises(ErrorGroup) as caught:
        load(tmp_path, wrong)
    # What production misses may stand in the file.
    assert [error.code for error in caught.value.errors] == ["F202", "F200", "F200"]
    said = "".join(error.message for error in caught.value.errors)
    assert "FORGE_SERVER_PORT" in said and "FORGE_JOBS_POLL_INTERVAL" in said


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match=r"missing\.toml") as caught:
        load(tmp_path, {"FORGE_CONFIG": missing})
    assert caught.value.code == "F202"
    (tmp_path / "forge.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError):
        load(tmp_path, {})


def test_a_project_without_a_file_has_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, {}).masked() == load(None, {}).masked()


def test_unknown_variables_warn_with_a_suggestion() -> None:
    config = load(None, {"FORGE_SEVER_PORT": "1", "FORGE_XYZ": "1", "OTHER": "1"})
    assert config.warnings == (
        "FORGE_SEVER_PORT is not known: did you mean FORGE_SERVER_PORT?",
        "FORGE_XYZ is not known",
    )


def test_an_unknown_variable_begins_no_line_and_moves_no_cursor() -> None:
    name = "FORGE_X\x1b[31m\nerror[F999]: é\udcff"
    (warning,) = load(None, {name: ""}).warnings
    assert warning.startswith(r"FORGE_X\x1b[31m\nerror[F999]: é\udcff is not known")


def test_unknown_variables_are_told_after_the_errors_that_may_come_from_them() -> None:
    environ = {"FORGE_ENV": "production", "FORGE_AUTH_SECRET": "s" * 32, "FORGE_SRVER_PORT": "1"}
    environ["FORGE_DATABASE_ULR"] = "postgresql://me:hunter2@host/db"
    told = errors_of(environ)
    assert [error.code for error in told] == ["F203", "F201", "F201"]
    assert "database.url is required" in told[0].message
    assert [error.message for error in told[1:]] == [
        "FORGE_DATABASE_ULR is not known: did you mean FORGE_DATABASE_URL?",
        "FORGE_SRVER_PORT is not known: did you mean FORGE_SERVER_PORT?",
    ]


def test_looking_for_mistakes_tells_an_unknown_variable_once() -> None:
    config, mistakes = inspect(None, {"FORGE_SRVER_PORT": "1", "FORGE_SERVER_PORT": "x"})
    assert len(mistakes) == len(config.warnings) == 1


def test_the_variables_of_the_tools_are_known() -> None:
    environ = {"FORGE_IMPL": "c", "FORGE_REQUIRE_ALL": "1", "FORGE_PURE": "1", "FORGE_ENV": "test"}
    assert load(None, environ).warnings == ()


# -- production -----------------------------------------------------------------------------------

PRODUCTION = {
    "FORGE_ENV": "production",
    "FORGE_DATABASE_URL": "postgresql://shop@db/shop",
    "FORGE_AUTH_SECRET": "s" * 32,
}


def test_production_forces_json_logs_and_samples_little() -> None:
    config = load(None, {**PRODUCTION, "FORGE_LOG_FORMAT": "text"})
    assert config.env == "production"
    assert config.observe.log_format == "json"
    assert config.sources["observe.log_format"] == "production"
    assert config.observe.sample_ratio == 0.01
    assert config.server.drain_delay == 5.0 and load(None, {}).server.drain_delay == 0.0
    assert load(None, {**PRODUCTION, "FORGE_SERVER_DRAIN_DELAY": "0s"}).server.drain_delay == 0
    assert load(None, {**PRODUCTION, "FORGE_OBSERVE_SAMPLE_RATIO": "1"}).observe.sample_ratio == 1


def test_development_is_the_default_and_samples_everything() -> None:
    config = load(None, {})
    assert (config.env, config.observe.log_format, config.observe.sample_ratio) == (
        "development",
        "auto",
        1.0,
    )


def test_production_refuses_development_defaults() -> None:
    errors = errors_of({"FORGE_ENV": "production", "FORGE_API_CORS_ORIGINS": '["*"]'})
    assert {error.code for error in errors} == {"F203"}
    text = " ".join(error.message for error in errors)
    assert all(key in text for key in ("database.url", "auth.secret", "api.cors_origins"))


@pytest.mark.parametrize(
    ("environ", "file"),
    [({}, ""), ({"FORGE_AUTH_SECRET": "hunter2" * 4}, ""), ({}, '[auth]\nsecret = "hunter2"')],
)
def test_production_refuses_to_make_up_a_secret_or_take_a_short_one(
    environ: dict[str, str], file: str
) -> None:
    without = {name: value for name, value in PRODUCTION.items() if name != "FORGE_AUTH_SECRET"}
    (error,) = errors_of({**without, **environ}, file)
    assert error.code == "F203" and "auth.secret" in error.message
    assert "token_hex(32)" in (error.hint or "") and "hunter2" not in error.message
    assert load(None, {"FORGE_AUTH_SECRET": "x"}).auth.secret == "x", "development takes any"


def test_production_has_a_domain_whose_labels_are_tenants() -> None:
    environ = {**PRODUCTION, "FORGE_TENANCY_STRATEGY": "subdomain"}
    (error,) = errors_of(environ)
    assert error.code == "F203" and "tenancy.domain" in error.message
    config = load(None, {**environ, "FORGE_TENANCY_DOMAIN": "shop.example"})
    assert config.tenancy.domain == "shop.example"
    load(None, {"FORGE_TENANCY_STRATEGY": "subdomain"})


# -- what follows from other values ---------------------------------------------------------------


def test_urls_roles_and_names_follow_from_others() -> None:
    config = load(
        Archive('[project]\nname = "my shop"'), {"DATABASE_URL": "postgresql://web:s@h/d"}
    )
    assert config.database.migrate_url == config.database.direct_url == config.database.url
    assert config.database.app_role == "web"
    assert config.observe.service_name == "my shop"
    assert load(Archive('[project]\nname = "My-Shop"'), {}).database.app_role == "my_shop_app"


@pytest.mark.parametrize(
    ("host", "admin", "refused"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("localhost", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("10.0.0.1", "::", True),
        ("10.0.0.1", "127.0.0.1", False),
    ],
)
def test_two_servers_do_not_share_a_port(host: str, admin: str, refused: bool) -> None:
    hosts = {"FORGE_SERVER_HOST": host, "FORGE_ADMIN_HOST": admin}
    environ = {**hosts, "PORT": "81", "FORGE_ADMIN_PORT": "81"}
    if refused:
        (error,) = errors_of(environ)
        assert error.code == "F200" and error.message.startswith("FORGE_ADMIN_PORT: admin.port")
        assert "server.port" in error.message and "81" in error.message
    else:
        load(None, environ)
    for apart in (
        {"FORGE_ADMIN_PORT": "82"},
        {"PORT": "0", "FORGE_ADMIN_PORT": "0"},
        {"FORGE_ADMIN_ENABLED": "false"},
        {"FORGE_SERVER_UNIX_SOCKET": "/run/shop"},
    ):
        load(None, environ | apart)


def test_a_host_may_be_a_name_of_any_language() -> None:
    for host in ("", "localhost", "b\xfccher.example", "fe80::1%eth0"):
        assert load(None, {"FORGE_SERVER_HOST": host}).server.host == host


def test_an_app_role_that_is_not_the_urls_user_is_refused() -> None:
    environ = {"DATABASE_URL": "postgresql://web@h/d", "FORGE_DATABASE_APP_ROLE": "other"}
    (error,) = errors_of(environ)
    assert "app_role" in error.message


# -- secrets and freezing -------------------------------------------------------------------------


def test_the_values_of_a_secret_table_are_masked() -> None:
    config = load(None, {"FORGE_OBSERVE_OTLP_HEADERS": '{Authorization = "Bearer hunter2"}'})
    assert config.observe.otlp_headers["Authorization"] == "Bearer hunter2"
    assert config.masked()["observe.otlp_headers"] == {"Authorization": "***"}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@host/db",
        "postgresql://me:hunter2@x@host:5432/db?sslmode=require",
        "postgresql://me@host/db?password=hunter2&x=1",
        "host=h password=hunter2 user=me",
        "host=h password = 'hunter2 and more' user=me",
        "postgresql://me:\nhunter2@host/db",
        "postgresql://me:hunter2\n@host/db",
        "postgresql://me:hun/ter2?hunter2@host/db",
        "postgresql://m/e?me:hunter2@host/db",
        "postgresql://me@host/db?p%61ssword=hunter2",
        "postgresql://me@host/db?x=1& PASSWORD =and more hunter2&sslpassword=hunter2",
        "postgresql://a?me:s@host?password=hunter2",
        "host=h user=me password=a\\ hunter2",
        "host=h user=me password=a\\'\\\nhunter2",
        "host=h user=me password='and \\' more hunter2",
        "host=h user=me password= hunter2",
        "host=h user=me password=and hunter2 more",
        "host=h user='me' sslpassword=hunter2\n password=hunter2",
    ],
)
def test_passwords_are_masked_and_the_rest_of_the_url_is_shown(url: str) -> None:
    config = load(None, {"DATABASE_URL": url, "FORGE_AUTH_SECRET": "hunter2"})
    shown = json.dumps(config.masked())
    assert "hunter2" not in shown and "more" not in shown
    assert "me" in str(config.masked()["database.url"])
    assert config.masked()["auth.secret"] == "***"
    assert "hunter2" in config.database.url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@h1:1,h2/db?application_name=a%20b&options=-c%20x%3Dy",
        "postgresql:///db?host=/run&user=me",
        "host=/run  user = 'me \\' password=x' passfile=p sslkey=k",
    ],
)
def test_what_is_no_password_is_shown(url: str) -> None:
    assert load(None, {"DATABASE_URL": url}).masked()["database.url"] == url


@pytest.mark.parametrize("part", ["w", ":", "@", "?", "&", "=", " ", "'", "\\", "a=", "a ", "://"])
def test_a_hostile_address_is_masked_in_no_time(part: str) -> None:
    started = time.process_time()
    for start in ("postgresql://u", "a="):
        mask_address(start + part * 200_000)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "headers",
    [{"x-team": "hunter2\n"}, {"x-team": "hun\rter2"}, {"x-team": "hunter2\0"}, {"x": " hunter2"},
     {"x-team": "hunter2€"}, {"x-team:": "hunter2"}, {"": "hunter2"}, {"x team": "hunter2"},
     {"é": "hunter2"}, {"x-team": 7}, {"x-team\n": "hunter2"}],
)  # fmt: skip
def test_headers_that_http_cannot_send_are_refused_and_not_shown(headers: dict[str, Any]) -> None:
    rows = ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in headers.items())
    (error,) = errors_of({"FORGE_OBSERVE_OTLP_HEADERS": f"{{{rows}}}"})
    assert error.code == "F200" and "observe.otlp_headers must be" in error.message
    assert "hunter2" not in f"{error.message} {error.hint}"


def test_headers_that_http_can_send_are_taken() -> None:
    headers = {"Authorization": "Bearer a b=", "x_1.y": "", "x": "\xe9\t!"}
    rows = ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in headers.items())
    config = load(None, {"FORGE_OBSERVE_OTLP_HEADERS": f"{{{rows}}}"})
    assert dict(config.observe.otlp_headers) == headers


@pytest.mark.parametrize("token", ["pässwort-hunter2", "hunter2 ", " hunter2", "hun\tter2"])
def test_a_token_that_no_header_carries_is_refused_and_not_shown(token: str) -> None:
    """The admin server would start, and let nobody in who sends the very token."""
    (error,) = errors_of({"FORGE_ADMIN_TOKEN": token})
    assert error.code == "F200" and "admin.token must be" in error.message
    assert "hunter2" not in f"{error.message} {error.hint}"
    assert load(None, {"FORGE_ADMIN_TOKEN": "a b=~!"}).admin.token == "a b=~!"


def test_a_bad_secret_is_not_shown_in_its_error() -> None:
    (error,) = errors_of({"FORGE_DATABASE_URL": "mysql://me:hunter2@host"})
    assert "hunter2" not in error.message + (error.hint or "")
    (error,) = errors_of({}, "[admin]\ntoken = ['hunter2']")
    assert "hunter2" not in error.message + (error.hint or "")


def test_no_repr_shows_a_secret() -> None:
    config = load(None, {"FORGE_ADMIN_TOKEN": "hunter2"})
    assert config.admin.token == "hunter2"
    assert "hunter2" not in repr(config) + repr(config.admin) + str(config.admin)


def test_values_cannot_be_changed() -> None:
    config = load(None, {})
    with pytest.raises(AttributeError):
        config.server.port = 1
    with pytest.raises(AttributeError):
        del config.server.port
    with pytest.raises(TypeError):
        config.jobs.queues["x"] = 1
    with pytest.raises(AttributeError):
        config.server.prot  # noqa: B018
    with pytest.raises(AttributeError):
        config.sever  # noqa: B018
    assert isinstance(config, Config)


@given(st.dictionaries(st.sampled_from([key.variable for key in TABLE]), st.text(max_size=30)))
def test_any_text_in_any_variable_gives_a_config_or_errors(environ: dict[str, str]) -> None:
    try:
        json.dumps(load(None, environ).masked())
    except ErrorGroup as group:
        assert group.errors


@given(st.text(max_size=200))
def test_any_file_gives_a_config_or_errors(text: str) -> None:
    try:
        load(Archive(text), {})
    except (ErrorGroup, ConfigError):
        pass


def test_a_byte_order_mark_before_the_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "forge.toml").write_text('[project]\nname = "shop"\n', "utf-8-sig")
    assert load(tmp_path, {}).project.name == "shop"


def test_a_hub_that_no_action_would_reach_is_refused() -> None:
    (error,) = errors_of({"FORGE_NOTIFY_HUB": "memory"})
    assert "notify.hub must be 'postgres'" in error.message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://web:s@h/d",
        "postgresql://h/d?user=web",
        "host=h user=web dbname=d",
        "user = 'web' host=h",
        "host=h options='-c user=root' user=web",
        "dbname='a user=root' user=we\\b",
        "postgresql://root@h/d?options=-c%20user%3Droot&user=w%65b",
    ],
)
def test_the_app_role_is_the_urls_user_in_every_form(url: str) -> None:
    assert load(None, {"DATABASE_URL": url}).database.app_role == "web"


def test_migrations_go_past_the_pooler_when_it_is_named() -> None:
    config = load(
        None, {"DATABASE_URL": "postgresql://w@pool/d", "FORGE_DATABASE_DIRECT_URL": "host=db"}
    )
    assert config.database.migrate_url == "host=db"


def test_a_value_that_follows_from_another_names_where_that_came_from(tmp_path: Path) -> None:
    (tmp_path / "forge.toml").write_text('[project]\nname = "shop"\n')
    url = "postgresql://shop_app@db.example/shop"
    sources = load(tmp_path, {"DATABASE_URL": url}).sources
    for name in ("url", "direct_url", "migrate_url", "app_role"):
        assert sources[f"database.{name}"] == "DATABASE_URL"
    assert sources["observe.service_name"] == "forge.toml:2"
    assert sources["observe.sample_ratio"] == "default"
    direct = {"FORGE_DATABASE_DIRECT_URL": url}
    sources = load(tmp_path, {"DATABASE_URL": url} | direct).sources
    assert sources["database.migrate_url"] == "FORGE_DATABASE_DIRECT_URL"
    hard = {"FORGE_ENV": "production", "DATABASE_URL": url, "FORGE_AUTH_SECRET": "s" * 40}
    assert load(tmp_path, hard).sources["observe.sample_ratio"] == "production"
    hard["FORGE_OBSERVE_SAMPLE_RATIO"] = "0.5"
    assert load(tmp_path, hard).sources["observe.sample_ratio"] == "FORGE_OBSERVE_SAMPLE_RATIO"


@pytest.mark.parametrize(
    ("environ", "where"),
    [
        ({"FORGE_JOBS_HEARTBEAT": "1m"}, "FORGE_JOBS_HEARTBEAT"),
        ({"FORGE_JOBS_RESCUE_AFTER": "5s"}, "FORGE_JOBS_RESCUE_AFTER"),
        (
            {"FORGE_JOBS_RESCUE_AFTER": "1s", "FORGE_JOBS_HEARTBEAT": "2s"},
            "FORGE_JOBS_RESCUE_AFTER",
        ),
    ],
)
def test_a_worker_that_lives_is_not_rescued_from(environ: dict[str, str], where: str) -> None:
    (error,) = errors_of(environ)
    assert error.message.startswith(f"{where}: jobs.rescue_after must be longer than")
    assert load(None, {"FORGE_JOBS_RESCUE_AFTER": "1s", "FORGE_JOBS_HEARTBEAT": "200ms"})


@pytest.mark.parametrize("name", ["", "a b", "X-Tenant:", "X_Tenant", "X-Mandant-Nr\u00b0", "a\nb"])
def test_what_is_no_headers_name_is_refused(name: str) -> None:
    (error,) = errors_of({"FORGE_TENANCY_HEADER": name})
    assert error.message.startswith("FORGE_TENANCY_HEADER: tenancy.header must be a header name")


def test_a_queue_has_no_more_threads_than_a_machine_gives() -> None:
    (error,) = errors_of({"FORGE_JOBS_QUEUES": "{default = 1000000}"})
    assert error.message.startswith("FORGE_JOBS_QUEUES: jobs.queues must be a table of queue")
    assert load(None, {"FORGE_JOBS_QUEUES": "{default = 1024}"}).jobs.queues == {"default": 1024}


@pytest.mark.parametrize(
    "address", ["http://h:99999", "http://h:port/x", "http://[::1", "http://h:0", "http://:4318"]
)
def test_a_collectors_address_that_no_exporter_takes_is_refused(address: str) -> None:
    with pytest.raises(ErrorGroup) as caught:
        load(None, {"FORGE_OBSERVE_OTLP_ENDPOINT": address, "FORGE_SERVER_PORT": "x"})
    assert [error.message.partition(":")[0] for error in caught.value.errors] == [
        "FORGE_SERVER_PORT",
        "FORGE_OBSERVE_OTLP_ENDPOINT",
    ]


@pytest.mark.parametrize("name", ["", "\\u0000", "a\\nb"])
def test_a_queue_has_a_name_that_can_be_stored_and_shown(name: str) -> None:
    with pytest.raises(ErrorGroup) as caught:
        load(None, {"FORGE_JOBS_QUEUES": f'{{"{name}" = 2}}'})
    assert "jobs.queues must be" in str(caught.value.errors[0])


def test_only_a_line_feed_ends_a_line() -> None:
    with pytest.raises(ErrorGroup) as caught:
        load(Archive("# a\u2028b\x85c\n[server]\nport = 'x'\n"), {})
    assert str(caught.value.errors[0]).startswith("forge.toml:3: server.port")


@pytest.mark.parametrize(
    "origin",
    [
        "https://a.example/",
        "https://A.example",
        "a.example",
        "https://a.example:443",
        "https://",
        "",
        "a\r\nb",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    """It would be compared with what they send, and found in nothing."""
    (error,) = errors_of({"FORGE_API_CORS_ORIGINS": json.dumps([origin])})
    assert error.code == "F200" and "'https://shop.example'" in error.message


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "http://localhost:5173",
        "https://a.example:8443",
        "http://[::1]:8000",
        "app://x",
        "safari-web-extension://E2F94FEB-8A3C-4A1A-8DBF-5E7D8C6E3F8A",
        "file://",
    ],
)
def test_origins_that_browsers_send_are_taken(origin: str) -> None:
    config = load(None, {"FORGE_API_CORS_ORIGINS": json.dumps([origin])})
    assert config.api.cors_origins == (origin,)


def test_keys_that_were_removed_only_warn() -> None:
    text = "[server]\ngather = true\npin_threads = 'auto'\n"
    config = load(Archive(text), {"FORGE_SERVER_GATHER": "1", "FORGE_SERVER_PIN_THREADS": "false"})
    assert config.warnings == tuple(
        f"{where} has no effect any more; remove it"
        for where in (
            "forge.toml:2: server.gather",
            "forge.toml:3: server.pin_threads",
            "FORGE_SERVER_GATHER: server.gather",
            "FORGE_SERVER_PIN_THREADS: server.pin_threads",
        )
    )


def test_a_value_of_another_type_is_refused_with_the_choices() -> None:
    (error,) = errors_of({}, "[database]\nprepare = false\n")
    assert error.message == "forge.toml:2: database.prepare must be 'auto' or 'off', not False"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FORGE_MAIL_FROM", "Shop, Inc. <a@shop.example>"),
        ("FORGE_MAIL_FROM", "a@b, c@d"),
        ("FORGE_MAIL_FROM", "@"),
        ("FORGE_MAIL_FROM", "a@b\r\nBcc: c@d"),
        ("FORGE_MAIL_URL", "http://mail.example"),
        ("FORGE_PROJECT_URL", "https://:80"),
        ("FORGE_PROJECT_URL", "shop.example"),
        ("FORGE_PROJECT_TIME_ZONE", "Mars/Base"),
        ("FORGE_PROJECT_TIME_ZONE", "../../etc/passwd"),
    ],
)
def test_settings_of_mail_and_pages_are_checked_at_start(name: str, value: str) -> None:
    (error,) = errors_of({name: value})
    assert name in error.message
