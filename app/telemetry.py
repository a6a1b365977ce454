"""Logging on standard error: an entry a line, UTC, as JSON or text; no secret passes the redaction filter.

Only the standard library's logging is used: ``logging.getLogger(__name__)`` anywhere, ``setup_logging`` once.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

from app.settings import LogSettings

MASK: Final = "***"

_LONGEST_SECRET = 4096
_LONGEST_TEXT = 65_536

_NAMES = r"x-api-key|api[_-]?key|password|passwd|secret|access[_-]?token|auth[_-]?token"
# As in headers and assignments, as in JSON and reprs of dicts, and as in reprs of pairs.
_IS = r"(?:[\"']?\s*[:=]\s*|[\"']\s*,\s*)"
_RULES: Final = tuple(
    (re.compile(pattern, re.ASCII | re.IGNORECASE), replacement)
    for pattern, replacement in (
        # Webhook addresses first: their path is the credential.
        (r"(discord(?:app)?\.com/api/(?:v[0-9]+/)?webhooks)/[^\s\"'<>\\)]+", rf"\1/{MASK}"),
        (r"(hooks\.slack(?:-gov)?\.com)/[^\s\"'<>\\)]+", rf"\1/{MASK}"),
        # The same paths as HTTP clients log them, without the host.
        (r"(/api/(?:v[0-9]+/)?webhooks)/[0-9]+/[\w-]+", rf"\1/{MASK}"),
        (r"(/(?:services|workflows|triggers))/T[A-Z0-9]{6,}/[\w/-]+", rf"\1/{MASK}"),
        # Up to the last @: a password may hold one and, against the rules of URLs, a slash too.
        (
            r"\b((?:postgres(?:ql)?(?:\+\w+)?|rediss?)://[^\s:/@\"']{0,256}):[^\s\"'<>]{0,4096}@",
            rf"\1:{MASK}@",
        ),
        (r"\b([a-z][a-z0-9+.-]{0,20}://[^\s:/@?#\"']{0,256}):[^\s/?#\"'<>]{0,4096}@", rf"\1:{MASK}@"),
        (r"\b(wh(?:sec|sk))_[\w+/=-]+", rf"\1_{MASK}"),
        # Keys in the path, which need not look like ours.
        (r"(/(?:mcp|sse)/k/)[^\s/?#\"'<>]+", rf"\1{MASK}"),
        (r"\bhae_[\w-]{8,}", f"hae_{MASK}"),
        (
            rf"\b(authorization{_IS}(?:b?[\"'])?(?:(?:basic|bearer|digest|token)\s+)?)[^\s\"',;]+",
            rf"\1{MASK}",
        ),
        (r"\b(bearer)\s+[\w.~+/=:-]+", rf"\1 {MASK}"),
        (rf"((?:{_NAMES}){_IS})(?:b?\"[^\"]*\"|b?'[^']*'|[^\s\"'&,;)}}\]]+)", rf"\1{MASK}"),
        (r"([?&](?:key|token|sig|signature|auth)=)[^\s&\"'<>]+", rf"\1{MASK}"),
    )
)

_TAMED: Final = ("httpx", "httpcore", "granian.access", "hpack", "urllib3", "asyncio", "alembic")
"""Loggers of dependencies that would tell of every request."""

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_ENCODER = msgspec.json.Encoder(enc_hook=repr)


def redact(text: str) -> str:
    """The text without secrets, at most 64 Ki characters of it, fit for UTF-8.

    Masked are API keys (``hae_…``), bearer tokens, ``whsec_`` secrets, passwords in URLs, the paths of
    Discord and Slack webhooks, and what follows names such as ``api_key=`` or ``"password":``.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    rest = len(text) - _LONGEST_TEXT
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text[:_LONGEST_TEXT] if rest > 0 else text)
    # The cut may have gone through a secret that is no longer known as one: its end goes too.
    return f"{text[:-_LONGEST_SECRET]}… ({rest} more characters)" if rest > 0 else text


class RedactionFilter(logging.Filter):
    """Rewrites every record so that neither message, arguments, traceback nor extra fields hold a secret.

    Afterwards ``msg`` is the whole message, and the traceback is text in ``exc_text``: the exception itself,
    whose arguments may be secrets, goes no further. Always lets the record pass and never raises.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except Exception as error:
            message = f"{record.msg!r} (its arguments do not fit: {type(error).__name__})"
        record.msg, record.args = redact(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        record.exc_info = None
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        for name in record.__dict__.keys() - _OWN:
            record.__dict__[name] = _redacted_value(record.__dict__[name])
        return True


def _redacted_value(value: Any) -> Any:
    try:
        plain = value if isinstance(value, str) else _ENCODER.encode(value).decode()
        clean = redact(plain)
    except Exception as error:
        return f"({type(value).__name__}, not shown: {type(error).__name__})"
    return value if clean == plain and not isinstance(value, bytes | bytearray) else clean


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _OWN}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else _ENCODER.encode(value).decode()


def _time(record: logging.LogRecord) -> str:
    stamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")


class _JsonFormatter(logging.Formatter):
    """A JSON object a line: time, level, component, logger, message, extra fields, exception if any."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "component": self._component,
            "logger": record.name,
            "message": record.getMessage(),
        }
        # Extra fields cannot pass for the entry's own.
        entry |= {name: value for name, value in _fields(record).items() if name not in entry}
        if trace := "\n".join(filter(None, (record.exc_text, record.stack_info))):
            entry["exception"] = trace
        return _ENCODER.encode(entry).decode()


class _TextFormatter(logging.Formatter):
    """A readable line, extra fields as ``name=value`` behind the message; further lines are indented."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {name}={_shown(value)}" for name, value in _fields(record).items())
        origin = f"{self._component} {record.name}" if self._component else record.name
        head = f"{_time(record)} {record.levelname.lower():<8} {origin}: {record.getMessage()}{extra}"
        lines = "\n".join(filter(None, (head, record.exc_text, record.stack_info))).split("\n")
        # Indented and escaped: what a client sent can neither pass for an entry nor steer the terminal.
        return "\n    ".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines)


class _Handler(logging.StreamHandler[TextIO]):
    """Marks the engine's own handler, so that a second set-up replaces it and leaves others' alone."""


def setup_logging(log: LogSettings, component: str) -> None:
    """Log from ``log.level`` up to standard error, as ``component``; a second call replaces the first.

    Loggers of dependencies that tell of every request are held at warning and above.
    """
    json_lines = log.format == "json" or (log.format == "auto" and not sys.stderr.isatty())
    handler = _Handler(sys.stderr)
    handler.setFormatter(_JsonFormatter(component) if json_lines else _TextFormatter(component))
    handler.addFilter(RedactionFilter())
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    level = logging.getLevelNamesMapping()[log.level.upper()]
    root.setLevel(level)
    for name in _TAMED:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def disable_tracing() -> None:
    """Keep LangGraph from tracing to LangSmith, which triples the cost of a run and sends out what jobs hold.

    Call it before the first graph runs: langsmith reads the environment once. Names that win over the two
    set here, and those of the tracer of old, whose mere presence raises, are removed.
    """
    for name in ("LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_HANDLER"):
        os.environ.pop(name, None)
    os.environ["LANGSMITH_TRACING"] = "false"
    os.environ["LANGCHAIN_TRACING_V2"] = "false"
