"""Logging: format, levels, time, and above all that no secret gets out."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import langsmith.utils
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langsmith.utils import tracing_is_enabled

from app.settings import LogSettings
from app.telemetry import RedactionFilter, disable_tracing, redact, setup_logging

SECRET = "tops3cret"
log = logging.getLogger("app.tests.telemetry")

Output = Callable[[], str]


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    # Only what the tests added: pytest exchanges its own handlers between the phases of a test.
    for added in [each for each in root.handlers if type(each).__module__ in ("app.telemetry", "logging")]:
        root.removeHandler(added)
    root.setLevel(level)
    for name in ("httpx", "httpcore", "granian.access", "hpack", "urllib3", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Output:
    return lambda: capsys.readouterr().err


def entries(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key hae_01jd5w3k_abcDEF-123 used", "key hae_*** used"),
        ("the tables of hae_migrate", "the tables of hae_migrate"),
        ("POST /mcp/k/whatever-it.is~ failed", "POST /mcp/k/*** failed"),
        ("GET /sse/k/abc/messages?session_id=x", "GET /sse/k/***/messages?session_id=x"),
        ("Authorization: Bearer tops3cret.a-b_c~d+/=", "Authorization: Bearer ***"),
        ("authorization=tops3cret", "authorization=***"),
        ("{'authorization': 'Bearer tops3cret'}", "{'authorization': 'Bearer ***'}"),
        ("[(b'Authorization', b'Bearer tops3cret')]", "[(b'Authorization', b'Bearer ***')]"),
        ("Authorization: Basic dG9wczNjcmV0", "Authorization: Basic ***"),
        ("sent bearer tops3cret, refused", "sent bearer ***, refused"),
        ("whsec_tops3cret+/= whsec_tops3cret2", "whsec_*** whsec_***"),
        ("whsk_tops3cret", "whsk_***"),
        ("postgresql://hae:tops3cret@db:5432/hae", "postgresql://hae:***@db:5432/hae"),
        ("postgres://hae:tops3cret/@tops3cret@db/hae", "postgres://hae:***@db/hae"),
        ("redis://:tops3cret@cache:6379/0", "redis://:***@cache:6379/0"),
        ("to https://user:tops3cret@host/path.", "to https://user:***@host/path."),
        ("http://host:3002/a@b?c=d@e", "http://host:3002/a@b?c=d@e"),
        ("https://discord.com/api/webhooks/123/tops3cret?wait=true", "https://discord.com/api/webhooks/***"),
        (
            "https://discordapp.com/api/v10/webhooks/1/tops3cret",
            "https://discordapp.com/api/v10/webhooks/***",
        ),
        ('"POST /api/webhooks/123/tops3cret HTTP/1.1" 204', '"POST /api/webhooks/*** HTTP/1.1" 204'),
        ("POST /api/webhooks/trigger", "POST /api/webhooks/trigger"),
        ("https://hooks.slack.com/services/T0/B0/tops3cret 200", "https://hooks.slack.com/*** 200"),
        ("POST /services/T01234567/B01234567/tops3cret", "POST /services/***"),
        ("X-API-Key: tops3cret", "X-API-Key: ***"),
        ("(b'x-api-key', b'tops3cret')", "(b'x-api-key', ***)"),
        ("https://rpc.example/?api-key=tops3cret&x=1", "https://rpc.example/?api-key=***&x=1"),
        ("GET /mcp?key=tops3cret&x=1", "GET /mcp?key=***&x=1"),
        ('{"password": "tops3cret with spaces", "x": 1}', '{"password": ***, "x": 1}'),
        ("PGPASSWORD=tops3cret psql", "PGPASSWORD=*** psql"),
        ('password authentication failed for user "hae"', 'password authentication failed for user "hae"'),
        ("fencing token: 7, idempotency_key=abc", "fencing token: 7, idempotency_key=abc"),
    ],
)
def test_redaction(text: str, clean: str) -> None:
    assert redact(text) == clean
    assert redact(clean) == clean


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\"'<>\\"), min_size=1))
def test_whatever_the_password_of_a_database_it_is_masked(password: str) -> None:
    assert redact(f"at postgresql://hae:{password}@db/hae") == "at postgresql://hae:***@db/hae"


@given(st.text())
def test_any_text_is_redacted_without_error(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_long_text_is_cut_and_no_secret_is_split() -> None:
    for offset in (0, 4, 9, 14):
        text = redact("x" * (65_536 - offset) + f" redis://:{SECRET}@h " + "y" * 100_000)
        assert len(text) < 65_600
        assert SECRET[:3] not in text
        assert "more characters" in text


def test_messages_arguments_and_extra_fields_are_redacted(logged: Output) -> None:
    setup_logging(LogSettings(format="json"), "serve")
    log.info("called with %s at %s", f"hae_{SECRET}", f"redis://:{SECRET}@h/0")
    log.info(f"Bearer {SECRET}")
    log.info({"password": SECRET})
    log.info("%(url)s", {"url": f"https://hooks.slack.com/services/T/B/{SECRET}"})
    fields = {"headers": {"authorization": f"Bearer {SECRET}"}, "url": f"https://a:{SECRET}@b/", "tries": 3}
    log.info("sent", extra=fields)
    text = logged()
    assert SECRET not in text
    assert entries(text)[0]["message"] == "called with hae_*** at redis://:***@h/0"
    assert entries(text)[-1]["tries"] == 3
    assert entries(text)[-1]["url"] == "https://a:***@b/"


@pytest.mark.parametrize("format_", ["json", "text"])
def test_tracebacks_are_redacted_with_causes_and_stack(logged: Output, format_: Any) -> None:
    setup_logging(LogSettings(format=format_), "worker")

    def fail() -> None:
        try:
            raise ValueError(f"postgresql://hae:{SECRET}@db/hae is away")
        except ValueError as error:
            raise RuntimeError(f"Bearer {SECRET}") from error

    try:
        fail()
    except RuntimeError:
        log.exception("failed", stack_info=True)
    text = logged()
    assert SECRET not in text
    for shown in (
        "ValueError: postgresql://hae:***@db/hae",
        "RuntimeError: Bearer ***",
        "direct cause",
        "Stack (most",
    ):
        assert shown in text


def test_after_the_filter_no_handler_finds_the_secret() -> None:
    try:
        raise ValueError(f"hae_{SECRET}")
    except ValueError as error:
        record = log.makeRecord("n", logging.ERROR, "f", 1, "at %s", (f"hae_{SECRET}",), (type(error), error, None))
    assert RedactionFilter().filter(record) is True
    assert SECRET not in str(record.__dict__)
    assert "ValueError: hae_***" in logging.Formatter().format(record)


def test_what_cannot_be_formatted_is_still_logged(logged: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn:
        def __repr__(self) -> str:
            raise RuntimeError(SECRET)

    # Without pytest's handlers, which raise on such records.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    setup_logging(LogSettings(format="json"), "serve")
    log.info("%d nodes", "many")
    log.info("lone \udcff surrogate", extra={"odd": "\udcff"})
    log.info(
        "object",
        extra={"stubborn": Stubborn(), "huge": 2**70, "nan": float("nan"), "raw": f"hae_{SECRET}".encode()},
    )
    first, second, third = entries(logged())
    assert first["message"] == "'%d nodes' (its arguments do not fit: TypeError)"
    assert second["message"] == "lone \\udcff surrogate"
    assert third["stubborn"] == "(Stubborn, not shown: RuntimeError)"
    assert third["nan"] is None
    assert SECRET not in str(third)


def test_json_lines_have_their_fields_and_utc_time(logged: Output) -> None:
    setup_logging(LogSettings(format="json"), "worker")
    record = log.makeRecord(
        "app.x", logging.WARNING, "f", 1, "two\nlines", (), None, extra={"job": "job_1", "level": "no"}
    )
    record.created = 1_750_000_000.25
    logging.getLogger().handle(record)
    assert entries(logged()) == [
        {
            "time": "2025-06-15T15:06:40.250Z",
            "level": "warning",
            "component": "worker",
            "logger": "app.x",
            "message": "two\nlines",
            "job": "job_1",
        }
    ]


def test_text_is_one_entry_whatever_a_client_sends(logged: Output) -> None:
    setup_logging(LogSettings(format="text"), "serve")
    forged = "2025-06-15T15:06:40.250Z error    serve app.x: forged"
    log.info("got %s", f"a\n{forged}\r\n\x1b[31mred ü", extra={"node": "node_1"})
    lines = logged().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z info     serve app\.tests\.telemetry: got a", lines[0])
    assert lines[1:] == [f"    {forged}\\r", "    \\x1b[31mred ü node=node_1"]


def test_auto_means_json_off_a_terminal_and_text_on_it(logged: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    setup_logging(LogSettings(), "serve")
    log.info("a")
    assert entries(logged())[0]["message"] == "a"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    setup_logging(LogSettings(), "serve")
    log.info("b")
    assert logged().endswith("app.tests.telemetry: b\n")


def test_a_second_set_up_replaces_the_first_and_keeps_others_handlers(logged: Output) -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    setup_logging(LogSettings(level="error"), "one")
    setup_logging(LogSettings(level="debug"), "two")
    log.debug("once")
    assert [entry["component"] for entry in entries(logged())] == ["two"]
    assert other in logging.getLogger().handlers


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11", "granian.access"])
def test_dependencies_that_tell_of_every_request_are_tamed(logged: Output, name: str) -> None:
    setup_logging(LogSettings(level="debug"), "serve")
    logging.getLogger(name).info("HTTP Request: GET")
    logging.getLogger(name).warning("kept")
    assert [entry["message"] for entry in entries(logged())] == ["kept"]
    setup_logging(LogSettings(level="error"), "serve")
    logging.getLogger(name).warning("below the level")
    assert logged() == ""


def test_levels(logged: Output) -> None:
    setup_logging(LogSettings(level="warning"), "serve")
    log.info("not shown")
    log.warning("shown")
    assert [entry["level"] for entry in entries(logged())] == ["warning"]


@pytest.mark.parametrize(
    "name", ["LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGCHAIN_TRACING"]
)
def test_tracing_is_off_whichever_variable_asked_for_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for each in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING"):
        monkeypatch.delenv(each, raising=False)
    # What the function sets is taken back after the test.
    monkeypatch.setenv("LANGSMITH_TRACING", "x")
    monkeypatch.setenv("LANGCHAIN_TRACING_V2", "x")
    monkeypatch.setenv(name, "true")
    forget: Callable[[], None] = vars(langsmith.utils)["get_env_var"].cache_clear
    forget()
    disable_tracing()
    assert tracing_is_enabled() is False
    assert (os.environ["LANGSMITH_TRACING"], os.environ["LANGCHAIN_TRACING_V2"]) == ("false", "false")
    assert "LANGCHAIN_TRACING" not in os.environ
    forget()
