"""Whether a websocket still leads to a living node. TCP alone does not tell for a quarter of an hour."""

from __future__ import annotations

import asyncio

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed


class Liveness:
    """Cuts a connection that is dead though open; ``verdict`` then says how it was found out.

    Pings are sent when nothing has come for ``ping_s``, and answered by any message too: behind a flood of
    notifications a pong may be late, and a connection that brings messages lives. With ``silent_after`` a connection
    that answers pings is cut as well when no message has come for that long.
    """

    def __init__(self, socket: ClientConnection, ping_s: float) -> None:
        self._socket = socket
        self._ping_s = ping_s
        self._clock = asyncio.get_running_loop().time
        self._heard_at = self._clock()
        self._tasks = [asyncio.create_task(self._ping())]
        self.verdict = ""

    def heard(self) -> None:
        """A message came."""
        self._heard_at = self._clock()

    def silent_after(self, longest_s: float) -> None:
        """From now on, silence counts."""
        self._tasks.append(asyncio.create_task(self._listen(longest_s)))

    def end(self) -> None:
        """Watch no longer."""
        for task in self._tasks:
            task.cancel()

    async def _ping(self) -> None:
        alive_at = self._heard_at
        while not self.verdict:
            quiet_s = self._clock() - max(alive_at, self._heard_at)
            if quiet_s < self._ping_s:
                await asyncio.sleep(self._ping_s - quiet_s)
                continue
            asked_at = self._clock()
            try:
                async with asyncio.timeout(self._ping_s):
                    await (await self._socket.ping())
                alive_at = self._clock()
            except TimeoutError:
                if self._heard_at < asked_at:
                    self._cut("no answer to pings")
            except ConnectionClosed:
                return

    async def _listen(self, longest_s: float) -> None:
        left = longest_s
        while left > 0:
            await asyncio.sleep(left)
            left = self._heard_at + longest_s - self._clock()
        self._cut(f"silent for {longest_s:g} s")

    def _cut(self, verdict: str) -> None:
        self.verdict = verdict
        self._socket.transport.abort()
