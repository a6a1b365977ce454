"""Calls into plugins, kept apart: one that raises, hangs or answers nonsense harms nobody but its own caller.

Each call runs in a thread of its own, with a deadline. Threads cannot be ended from outside, so a plugin that has lost
STUCK_MOST of them is switched off until the process starts anew. This is against faults, not against malice: a plugin
is code that somebody chose to install.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from agent_plugins.protocol import AgentPlugin
from app.core.errors import HaeError, PluginFailed, Unavailable

log = logging.getLogger(__name__)

Made = TypeVar("Made")

DEADLINE_S = 2.0
SIDE_BY_SIDE = 8
"""Calls of one plugin that run at once; more wait for their turn."""
STUCK_MOST = 3


def told(error: BaseException) -> str:
    """An exception of somebody else's code in a few words, for operators and authors of plugins."""
    try:
        text = str(error)
    except Exception:
        text = "(it cannot be told)"
    return f"{type(error).__name__}: {text}"[:300]


class Guard:
    """Stands between the engine and one plugin. ``failures`` and ``hangs``: since the process started; ``last_error``:
    what the last of either was; ``stuck``: threads that have not come back."""

    def __init__(self, plugin: AgentPlugin, deadline_s: float = DEADLINE_S) -> None:
        self.plugin = plugin
        self.name = plugin.name
        self.deadline_s = deadline_s
        self.failures = 0
        self.hangs = 0
        self.stuck = 0
        self.last_error = ""
        self.off = False
        self._turns = asyncio.Semaphore(SIDE_BY_SIDE)

    async def call(self, doing: str, work: Callable[[AgentPlugin], Made]) -> Made:
        """What ``work`` makes of the plugin. ``doing``: a word for it.

        Raises what the plugin refuses (HaeError), PluginFailed when it raised anything else or took too long, and
        Unavailable while it has too much to do or is switched off.
        """
        self.check()
        try:
            async with asyncio.timeout(self.deadline_s):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable(
                f"the plugin {self.name} has too much to do", code="plugin_busy", retry_after=1.0
            ) from None
        try:
            self.check()
            return await self._in_time(doing, work)
        finally:
            self._turns.release()

    async def _in_time(self, doing: str, work: Callable[[AgentPlugin], Made]) -> Made:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Made] = loop.create_future()
        returned = late = False

        def settle(made: Made | None, error: BaseException | None) -> None:
            nonlocal returned
            returned = True
            deadline.cancel()
            self.stuck -= late
            if not done.done():
                _settle(done, made, error)

        def expire() -> None:
            # Also when whoever asked has gone away: the thread is lost all the same.
            nonlocal late
            if not returned:
                late = True
                self._note_hang(doing)
                if not done.done():
                    done.set_exception(self._late(doing))

        def run() -> None:
            made, error = _outcome(lambda: work(self.plugin))
            try:
                loop.call_soon_threadsafe(settle, made, error)
            except RuntimeError:
                log.debug("the plugin %s came back after the end", self.name)

        deadline = loop.call_later(self.deadline_s, expire)
        try:
            threading.Thread(target=run, name=f"plugin {self.name}", daemon=True).start()
        except RuntimeError:
            deadline.cancel()
            raise Unavailable("there are no threads left for plugins", code="plugin_busy", retry_after=1.0) from None
        try:
            return await done
        except TookTooLong:
            raise
        except HaeError as refusal:
            if _is_sound(refusal) and not isinstance(refusal, PluginFailed | Unavailable):
                raise
            self.note_failure(doing, refusal)
            raise self._failed(f"it could not {doing}") from None
        except _Raised as raised:
            self.note_failure(doing, raised.error)
            raise self._failed(f"it could not {doing}") from None

    def _late(self, doing: str) -> PluginFailed:
        return self._failed(f"it took longer than {self.deadline_s:g} s to {doing}", TookTooLong)

    def _failed(self, why: str, kind: type[PluginFailed] = PluginFailed) -> PluginFailed:
        return kind(
            f"the plugin {self.name} failed: {why}",
            next_action=f"Try another request; if it stays, tell the operator that the plugin {self.name} is broken.",
        )

    def check(self) -> None:
        """Raises Unavailable when the plugin is switched off."""
        if self.off:
            raise Unavailable(
                f"the plugin {self.name} is switched off, because it hung {STUCK_MOST} times",
                code="plugin_switched_off",
                next_action="Use the tools themselves (/v1/tools), or ask the operator to mend it and start anew.",
                retry_after=60.0,
            )

    def note_failure(self, doing: str, error: BaseException) -> None:
        """Count and log what the plugin raised while ``doing``."""
        self.failures += 1
        self.last_error = f"{doing}: {told(error)}"
        log.error("plugin %s failed to %s", self.name, doing, exc_info=error)

    def _note_hang(self, doing: str) -> None:
        self.hangs += 1
        self.stuck += 1
        self.last_error = f"{doing}: longer than {self.deadline_s:g} s"
        log.error("plugin %s took longer than %g s to %s", self.name, self.deadline_s, doing)
        if self.stuck >= STUCK_MOST and not self.off:
            self.off = True
            log.critical("plugin %s hung %d times and is switched off until the next start", self.name, STUCK_MOST)


class TookTooLong(PluginFailed):
    """The deadline came first."""


class _Raised(Exception):
    """Carries what a plugin raised, so that it is nothing that asyncio or a caller would act on (SystemExit)."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _outcome(work: Callable[[], Made]) -> tuple[Made | None, BaseException | None]:
    try:
        return work(), None
    except HaeError as error:
        return None, error
    except BaseException as error:
        return None, _Raised(error)


def _settle(done: asyncio.Future[Any], made: Any, error: BaseException | None) -> None:
    if error is None:
        done.set_result(made)
    else:
        done.set_exception(error)


def _is_sound(error: HaeError) -> bool:
    texts: tuple[Any, ...] = (error.code, error.detail, error.field, error.next_action)
    later: Any = error.retry_after
    return isinstance(later, float | int | None) and all(isinstance(one, str) and len(one) < 10_000 for one in texts)


def within(seconds: float, work: Callable[[], Made]) -> Made:
    """What ``work`` makes, for callers without an event loop. Raises what it raises, and PluginFailed when it takes
    longer, or raises what is no Exception."""
    answers: SimpleQueue[tuple[Made | None, BaseException | None]] = SimpleQueue()
    threading.Thread(target=lambda: answers.put(_outcome(work)), name="plugin", daemon=True).start()
    try:
        made, error = answers.get(timeout=seconds)
    except Empty:
        raise TookTooLong(f"it took longer than {seconds:g} s") from None
    if isinstance(error, _Raised):
        if isinstance(error.error, Exception):
            raise error.error
        raise PluginFailed(f"it raised {told(error.error)}") from error.error
    if error is not None:
        raise error
    return made  # type: ignore[return-value]
