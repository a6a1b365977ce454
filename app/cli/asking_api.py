"""For commands that ask a server over its API, as anybody with a key can: `hae submit`, `watch`, `jobs`, `plan`."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
import typer

from app.cli.environment import CommandError
from hae_client import ApiError, Client, HypernodeError, InvalidArgument, Unreachable, WaitTimeout
from hae_client.config import KEY_VARIABLE, LOCAL_URL, URL_VARIABLE

Answer = TypeVar("Answer")
REFUSED, UNREACHABLE, TIMED_OUT, INTERRUPTED = 1, 3, 4, 130
"""Exit codes; 1 also for a job or a plan that ended otherwise than well, 2 for wrong usage."""
CODES = (
    "Exit codes: 0 done; 1 refused, or what was waited for ended otherwise than well; 2 wrong usage; 3 no answer from "
    "the server; 4 not over within --timeout-s (it goes on); 130 interrupted (it goes on)."
)

UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar=URL_VARIABLE, help=f"The server; {LOCAL_URL} by default", show_default=False),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar=KEY_VARIABLE,
        help="The API key, from `hae keys create --scope agent`; others on this machine see arguments, so better set "
        "the variable",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead; an error as its problem, to stderr")]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout-s", min=0, help="Seconds to wait at most", show_default=False)
]


@contextmanager
def server(url: str | None, key: str | None, *, as_json: bool = False) -> Iterator[Client]:
    """A client; what it raises within the block ends the command with a line on stderr and the exit code for it.

    Raises CommandError without a key, or with a URL that is none.
    """
    if not as_json:
        _tell_of_tries()
    try:
        with Client(url, key) as client:
            if not client.access.key:
                raise CommandError(
                    f"an API key is needed: set {KEY_VARIABLE} to one that `hae keys create --scope agent` has printed"
                )
            yield client
    except InvalidArgument as error:
        raise CommandError(str(error)) from error
    except ApiError as error:
        _end(REFUSED, error, error.members, as_json)
    except WaitTimeout as error:
        _end(TIMED_OUT, error, {"code": "wait_timeout", "detail": str(error), "retryable": True}, as_json)
    except HypernodeError as error:
        code = "unreachable" if isinstance(error, Unreachable) else "unreadable_answer"
        told = {"code": code, "detail": str(error), "retryable": error.retryable}
        _end(UNREACHABLE, error, told, as_json)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _tell_of_tries() -> None:
    """Let people know why nothing happens while the server does not answer."""
    log = logging.getLogger("hae_client")
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("hae: %(message)s"))
        log.addHandler(handler)
        log.propagate = False
        log.setLevel(logging.INFO)


def interruptible(main: Coroutine[Any, Any, Answer]) -> Answer:
    """As asyncio.run, which may sleep on an interrupt that comes as it is about to wait. Raises KeyboardInterrupt."""

    async def heard() -> Answer:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
        return await main

    try:
        return asyncio.run(heard())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _end(code: int, error: HypernodeError, problem: dict[str, Any], as_json: bool) -> NoReturn:
    print(json.dumps(problem, ensure_ascii=False) if as_json else f"hae: {error}", file=sys.stderr)
    raise typer.Exit(code) from error


def read_json(file: str) -> Any:
    """What a file of JSON holds, or standard input for ``-``. Raises CommandError for what is none."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror or error}") from error
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        where = "standard input" if file == "-" else file
        raise CommandError(f"{where} is no JSON: {error}") from error


def print_json(value: Any) -> None:
    """Print a value, structs included, as one line of JSON."""
    print(msgspec.json.encode(value).decode(), flush=True)
