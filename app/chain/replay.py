"""Reading a program again from an earlier slot: by the leader if there is one, else here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.chain.finality import Finality
from app.chain.model import Index
from app.chain.programs import Programs
from app.chain.reader import Reader
from app.chain.rpc import RpcClient, RpcError, RpcUnavailable
from app.chain.rpc.records import is_signature
from app.chain.scan import Scanner
from app.chain.scanning import ScanLimits, Stalled
from app.core.errors import Conflict, HaeError, InvalidInput
from app.store.chain import cursors
from app.store.db import Database
from app.store.leader import Leadership

log = logging.getLogger(__name__)

TRIES = 20
"""In a row that came to nothing."""
RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """``transactions`` read again; ``new_events``: those that were not known. ``by_leader``: a listener does the work,
    and the figures are not known here."""

    programs: tuple[str, ...]
    from_slot: int
    transactions: int
    new_events: int
    by_leader: bool


Told = Callable[[str, int, int], None]
"""Called with the program, the transactions listed and those read so far."""


async def slot_of(rpc: RpcClient, signature: str) -> int:
    """The slot of a transaction. Raises InvalidInput when that is none, or the chain does not have it."""
    if not is_signature(signature):
        raise InvalidInput(f"{signature!r:.100} is not a transaction's signature", field="from_signature")
    status = (await rpc.statuses([signature]))[0]
    if status is None:
        raise InvalidInput(f"the chain has no transaction {signature}", field="from_signature")
    return status.slot


async def replay(
    *,
    db: Database,
    leadership: Leadership,
    rpc: RpcClient,
    programs: Programs,
    index: Index,
    chosen: Sequence[str],
    from_slot: int,
    limits: ScanLimits,
    told: Told,
) -> ReplayReport:
    """Read ``chosen`` programs again from ``from_slot`` on (0 = from their first transaction).

    Whatever is in the tables already is recognised: events keep their effects and are not told again. Where a
    listener leads, it is sent back to that slot and does the work. Raises InvalidInput for a slot that the chain has
    not reached, RpcUnavailable, Unavailable and Conflict (it cannot be read on, or the lead was lost to another
    listener, which goes on with the work).
    """
    tip = await rpc.slot("confirmed")
    if from_slot > tip:
        raise InvalidInput(f"the chain is at slot {tip}, before {from_slot}", field="from_slot")
    led = await leadership.try_acquire()
    try:
        async with db.unit() as uow:
            epoch = await cursors.take_over(uow, "hae replay") if led else 0
            for program in chosen:
                await cursors.rewind(uow, program, from_slot)
        if not led:
            return ReplayReport(tuple(chosen), from_slot, 0, 0, by_leader=True)
        reader = Reader(rpc, programs, index, db)
        finality = Finality(rpc, index, db, epoch)
        await finality.look()
        read = new = 0
        for program in chosen:
            scanner = Scanner(program, rpc=rpc, reader=reader, index=index, db=db, epoch=epoch, limits=limits)
            await _to_the_tip(scanner, finality, told)
            read += scanner.progress.read
            new += scanner.progress.events
        await finality.check()
        return ReplayReport(tuple(chosen), from_slot, read, new, by_leader=False)
    finally:
        await leadership.release()


async def _to_the_tip(scanner: Scanner, finality: Finality, told: Told) -> None:
    async def tell() -> None:
        while True:
            told(scanner.program, scanner.progress.listed, scanner.progress.read)
            await asyncio.sleep(0.25)

    telling = asyncio.create_task(tell())
    try:
        tries = read = 0
        while True:
            try:
                await scanner.round(finality.finalized_slot, finality.tip_slot)
            except (Stalled, RpcUnavailable, RpcError) as error:
                why: Exception = error
            except HaeError:
                raise
            except Exception as error:
                log.warning("%s: a batch cannot be applied; going on one by one", scanner.program, exc_info=error)
                scanner.be_careful()
                why = error
            else:
                break
            tries, read = tries + 1 if scanner.progress.read == read else 1, scanner.progress.read
            if tries == TRIES:
                raise Conflict(f"{scanner.program} cannot be read on: {why}", code="replay_stalled") from why
            await asyncio.sleep(RETRY_S)
    finally:
        telling.cancel()
        told(scanner.program, scanner.progress.listed, scanner.progress.read)
