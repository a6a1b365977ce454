"""Plugins that raise, hang and answer nonsense harm nobody but their caller."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from agent_plugins.isolation import STUCK_MOST, Guard, within
from app.core.errors import HaeError, InvalidInput, PluginFailed, Unavailable
from tests.unit.agent_plugins.plugins import Echo


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What hanging plugins wait for; set at the end, so that no thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()


def raising(error: BaseException) -> Callable[[Any], NoReturn]:
    def work(plugin: Any) -> NoReturn:
        raise error

    return work


def join_plugins() -> None:
    """Wait for the threads of this module's plugin to end."""
    for thread in threading.enumerate():
        if thread.name == "plugin echo":
            thread.join(10)


async def test_what_it_makes_is_handed_on() -> None:
    guard = Guard(Echo())
    assert await guard.call("say its name", lambda plugin: plugin.name) == "echo"
    assert (guard.failures, guard.hangs, guard.last_error) == (0, 0, "")


@pytest.mark.parametrize(
    "error",
    [ValueError("a secret"), KeyError(1), RecursionError(), MemoryError(), SystemExit(3), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_it_raises_is_a_problem_that_names_it(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    guard = Guard(Echo())
    with pytest.raises(PluginFailed) as caught:
        await guard.call("read the request", raising(error))
    assert caught.value.code == "plugin_failed"
    assert "the plugin echo failed: it could not read the request" in caught.value.detail
    assert "secret" not in caught.value.detail + caught.value.next_action
    assert (guard.failures, guard.hangs) == (1, 0)
    assert type(error).__name__ in guard.last_error
    assert "plugin echo failed to read the request" in caplog.text
    assert await guard.call("say its name", lambda plugin: plugin.name) == "echo"


async def test_its_refusals_reach_the_caller_and_count_as_no_failures() -> None:
    guard = Guard(Echo())
    with pytest.raises(InvalidInput, match="no such thing"):
        await guard.call("read", raising(InvalidInput("no such thing", field="thing")))
    assert guard.failures == 0


@pytest.mark.parametrize(
    "refusal",
    [
        InvalidInput(b"bytes"),  # type: ignore[arg-type]
        InvalidInput("x" * 20_000),
        InvalidInput("x", retry_after="soon"),  # type: ignore[arg-type]
        PluginFailed("it says so itself"),
        Unavailable("it says so itself"),
    ],
    ids=["bytes", "long", "retry", "failed", "unavailable"],
)
async def test_refusals_that_are_none_are_failures(refusal: HaeError) -> None:
    guard = Guard(Echo())
    with pytest.raises(PluginFailed):
        await guard.call("read", raising(refusal))
    assert guard.failures == 1


async def test_without_threads_it_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard(Echo())

    def full(thread: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        with pytest.raises(Unavailable, match="no threads left"):
            await guard.call("say its name", lambda plugin: plugin.name)
    assert await guard.call("say its name", lambda plugin: plugin.name) == "echo"


async def test_an_error_that_cannot_be_told_is_told_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    guard = Guard(Echo())
    with pytest.raises(PluginFailed):
        await guard.call("read", raising(Mute()))
    assert guard.last_error == "read: Mute: (it cannot be told)"


async def test_one_that_blocks_stalls_nobody_else(released: threading.Event) -> None:
    guard, other = Guard(Echo(), deadline_s=60), Guard(Echo())
    stuck = asyncio.create_task(guard.call("read", lambda plugin: released.wait()))
    # While it blocks the loop goes on, and so do other plugins, and other calls of this one.
    assert await other.call("say its name", lambda plugin: plugin.name) == "echo"
    assert await guard.call("say its name", lambda plugin: plugin.name) == "echo"
    assert not stuck.done()
    released.set()
    assert await stuck is True


async def test_one_that_hangs_is_given_up_on_and_at_last_switched_off(
    released: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    guard = Guard(Echo(), deadline_s=0.01)
    for number in range(1, STUCK_MOST + 1):
        with pytest.raises(PluginFailed, match=r"longer than 0.01 s to read"):
            await guard.call("read", lambda plugin: released.wait())
        assert (guard.hangs, guard.stuck) == (number, number)
    with pytest.raises(Unavailable) as caught:
        await guard.call("say its name", lambda plugin: plugin.name)
    assert caught.value.code == "plugin_switched_off"
    assert caught.value.retryable
    assert "echo" in caught.value.detail
    assert "switched off until the next start" in caplog.text


async def test_a_slow_one_is_not_switched_off_as_long_as_it_comes_back() -> None:
    guard = Guard(Echo(), deadline_s=0.01)
    for _ in range(STUCK_MOST + 1):
        slow = threading.Event()
        with pytest.raises(PluginFailed):
            await guard.call("read", lambda plugin, slow=slow: slow.wait())  # type: ignore[misc]
        slow.set()
        await asyncio.to_thread(join_plugins)
        await asyncio.sleep(0)
        assert guard.stuck == 0
    assert guard.hangs == STUCK_MOST + 1
    guard.deadline_s = 10
    assert await guard.call("say its name", lambda plugin: plugin.name) == "echo"


async def test_it_counts_as_stuck_when_its_caller_has_gone_away(released: threading.Event) -> None:
    noted = asyncio.Event()

    class Watched(Guard):
        def _note_hang(self, doing: str) -> None:
            super()._note_hang(doing)
            noted.set()

    guard = Watched(Echo(), deadline_s=0.01)
    asked = asyncio.create_task(guard.call("read", lambda plugin: released.wait()))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await asyncio.wait_for(noted.wait(), 10)
    assert (guard.hangs, guard.stuck) == (1, 1)


async def test_too_many_at_once_wait_and_are_told_so(released: threading.Event) -> None:
    guard = Guard(Echo(), deadline_s=60)
    stuck = [asyncio.create_task(guard.call("read", lambda plugin: released.wait())) for _ in range(8)]
    await asyncio.sleep(0)
    guard.deadline_s = 0.01
    with pytest.raises(Unavailable) as caught:
        await guard.call("say its name", lambda plugin: plugin.name)
    assert caught.value.code == "plugin_busy"
    released.set()
    assert await asyncio.gather(*stuck) == [True] * 8


def test_within_hands_on_what_is_made_and_raised(released: threading.Event) -> None:
    assert within(10, lambda: 7) == 7
    with pytest.raises(InvalidInput):
        within(10, lambda: raising(InvalidInput("no"))(None))
    with pytest.raises(ZeroDivisionError):
        within(10, lambda: 1 // 0)
    with pytest.raises(PluginFailed, match="SystemExit"):
        within(10, lambda: sys.exit(1))
    with pytest.raises(PluginFailed, match=r"longer than 0.01 s"):
        within(0.01, released.wait)
