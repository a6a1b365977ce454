"""Gives events their positions and delivers webhooks until it is killed:
``python -m tests.integration.store.delivering URL RECEIVER``.
"""

from __future__ import annotations

import asyncio
import sys

from app.store.db import Database
from app.store.deliveries import DeliveryRows
from app.webhooks.dispatcher import Dispatcher
from app.webhooks.endpoints import Endpoint
from app.webhooks.guard import Guard
from app.webhooks.sender import Limits, Sender
from app.workers.sequencer import Sequencer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def main(url: str, receiver: str) -> None:
    async with Sender(Guard(["127.0.0.0/8"]), Limits(total_s=60.0)) as sender:
        endpoint = Endpoint("ops", "custom", receiver, SECRET)
        db, never = Database(url), asyncio.Event()
        dispatcher = Dispatcher(DeliveryRows(db), sender, [endpoint], poll_s=0.05)
        sequencer = Sequencer(db, poll_s=0.05, moved=dispatcher.wake)
        await asyncio.gather(sequencer.run(never), dispatcher.run(never))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
