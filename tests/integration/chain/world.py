"""A chain, a database and a listener between them, all real: what the listener's tests stand on."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from solders.transaction import VersionedTransaction

from app.chain import lister
from app.chain.devchain.backlog import job_events
from app.chain.devchain.chain import DevChain
from app.chain.devchain.config import JOB_RECEIPT, NODE_REGISTRY, PAYMENT_SPLITTER, ChainConfig
from app.chain.devchain.emitter import Op, record
from app.chain.devchain.faults import Faults, Kind
from app.chain.devchain.network import Network, Style
from app.chain.devchain.node import Node
from app.chain.devchain.records import Landed
from app.chain.devchain.server import Served, serve
from app.chain.devchain.subscriptions import Subscriptions
from app.chain.finality import Finality
from app.chain.listener import Listener, ListenerOptions
from app.chain.programs import Programs
from app.chain.reader import Reader
from app.chain.rpc import Endpoint, RpcClient
from app.chain.scan import Scanner
from app.chain.scanning import ScanLimits
from app.chain.transactions import parse_transaction
from app.core.money import UNIT
from app.services.chain import ChainIndex, JobDefaults
from app.store.chain import cursors
from app.store.db import Database
from app.store.leader import Leadership

PROGRAMS = Programs(NODE_REGISTRY, JOB_RECEIPT, PAYMENT_SPLITTER)
DEADLINE_S = 20.0
LOCK = "test listener"

Told = tuple[str, str, int, int, int, int, str]
"""An event as signature, program, outer and inner instruction, ordinal, slot, name."""


@dataclass
class World:
    """``epoch``: of the leader that ``scanner`` and ``finality`` act for; taken when first asked for."""

    db: Database
    database_url: str
    served: Served
    network: Network
    rpc: RpcClient
    index: ChainIndex
    limits: ScanLimits = field(default_factory=ScanLimits)
    epoch: int = 0
    _scanners: dict[str, Scanner] = field(default_factory=dict)
    _finality: Finality | None = None
    _read: dict[tuple[str, int], list[Told]] = field(default_factory=dict, repr=False)

    @property
    def chain(self) -> DevChain:
        return self.served.chain

    @property
    def faults(self) -> Faults:
        return self.served.faults

    def fault(self, kind: Kind, **how: Any) -> None:
        self.faults.add(kind, **how)

    def land(self, slots: int = 2) -> None:
        """Let what was sent be confirmed."""
        self.chain.advance(slots)

    def finalize(self) -> None:
        """Let everything be final."""
        self.chain.advance(self.chain.config.finalize_depth + 1)

    async def lead(self) -> int:
        async with self.db.unit() as uow:
            self.epoch = await cursors.take_over(uow, "test")
        self._scanners.clear()
        self._finality = None
        return self.epoch

    async def scanner(self, program: str = JOB_RECEIPT) -> Scanner:
        """The leader's scanner of the program; a new one after ``lead``."""
        if not self.epoch:
            await self.lead()
        if program not in self._scanners:
            self._scanners[program] = Scanner(
                program,
                rpc=self.rpc,
                reader=Reader(self.rpc, PROGRAMS, self.index, self.db),
                index=self.index,
                db=self.db,
                epoch=self.epoch,
                limits=self.limits,
            )
        return self._scanners[program]

    async def scan(self, program: str = JOB_RECEIPT) -> int:
        """One round; how many transactions were read."""
        return await (await self.scanner(program)).round(
            self.chain.slot_at("finalized"), self.chain.slot_at("confirmed")
        )

    async def scan_all(self) -> None:
        for program in PROGRAMS.ids:
            await self.scan(program)

    async def finality(self) -> Finality:
        """The leader's; a new one after ``lead``."""
        if not self.epoch:
            await self.lead()
        if self._finality is None:
            self._finality = Finality(self.rpc, self.index, self.db, self.epoch, self._reread)
        return self._finality

    async def settle_finality(self, looks: int = 3) -> tuple[int, int]:
        """Follow finality: ``(promoted, taken back)``."""
        finality = await self.finality()
        promoted = orphaned = 0
        for _ in range(looks):
            await finality.look()
            some = await finality.check()
            promoted, orphaned = promoted + some[0], orphaned + some[1]
        return promoted, orphaned

    def _reread(self, signatures: Sequence[str]) -> None:
        for scanner in self._scanners.values():
            scanner.forget(signatures)

    def listener(self, *, ws_url: str | None = None, scan_s: float = 30.0, lock: str = LOCK) -> Listener:
        """Scans by notifications alone, unless ``scan_s`` is short."""
        return Listener(
            db=self.db,
            leadership=Leadership(self.database_url, lock),
            rpc=self.rpc,
            programs=PROGRAMS,
            index=self.index,
            options=ListenerOptions(
                ws_url=self.served.ws_url if ws_url is None else ws_url,
                scan_s=scan_s,
                limits=self.limits,
                holder="test",
            ),
        )

    @asynccontextmanager
    async def listening(self, **options: Any) -> AsyncIterator[Listener]:
        """A listener that runs until the block ends."""
        listener, stop = self.listener(**options), asyncio.Event()
        running = asyncio.create_task(listener.run(stop))
        try:
            yield listener
        finally:
            stop.set()
            await asyncio.wait_for(running, DEADLINE_S)

    @property
    def subscribed(self) -> int:
        """How many subscriptions the node serves."""
        return sum(len(each) for each in self.chain.observers if isinstance(each, Subscriptions))

    async def is_subscribed(self) -> bool:
        return self.subscribed == len(PROGRAMS.ids)

    @asynccontextmanager
    async def listener_process(self, redis_url: str) -> AsyncIterator[Process]:
        """`hae listener` as people run it, until the block ends."""
        env = {
            **os.environ,
            **{"DATABASE_URL": self.database_url, "REDIS_URL": redis_url, "HAE_LOG_LEVEL": "warning"},
            **{"SOLANA_RPC_URL": self.served.url, "SOLANA_WS_URL": self.served.ws_url},
            **{"NODE_REGISTRY_PROGRAM_ID": NODE_REGISTRY, "JOB_RECEIPT_PROGRAM_ID": JOB_RECEIPT},
            "PAYMENT_SPLITTER_PROGRAM_ID": PAYMENT_SPLITTER,
        }
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "app", "listener", env=env)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), DEADLINE_S)

    def client(self) -> Keypair:
        """Who pays for jobs, and can."""
        payer = self.network.wallet("client")
        if not self.network.money.held(payer.pubkey()):
            self.network.money.give(payer.pubkey(), 100 * UNIT)
        return payer

    def create(self, *names: str | bytes, price: int = UNIT, style: Style | None = None) -> list[str]:
        """Jobs, each in a transaction of its own; the signatures."""
        payer = self.client()
        return [str(self.network.create_job(payer, name, price=price, style=style).signature) for name in names]

    def backlog(self, count: int, *, per_block: int = 100, seed: int = 0) -> None:
        """Land ``count`` events of jobs, a transaction each, and have them confirmed."""
        self.chain.load(job_events(self.network, count, seed=seed), per_block=per_block)
        self.land(1)

    def mentions(self, count: int, program: str = JOB_RECEIPT, *, fail: bool = False, per_block: int = 500) -> None:
        """Land ``count`` transactions that name the program and do not call it; or that call it and ``fail``."""
        key = Pubkey.from_string(program)
        payer, blockhash = self.network.wallet("spammer"), self.chain.latest_blockhash()[0]
        target = key if fail else SYSTEM
        metas = [
            AccountMeta(payer.pubkey(), True, True),
            AccountMeta(payer.pubkey(), False, True),
            AccountMeta(key, False, False),
        ]

        def each() -> Iterator[VersionedTransaction]:
            for number in range(count):
                data = (
                    record(b"no!!" + number.to_bytes(4, "little"), Op.FAIL) if fail else struct.pack("<IQ", 2, number)
                )
                message = Message.new_with_blockhash([Instruction(target, data, metas)], payer.pubkey(), blockhash)
                yield VersionedTransaction(message, [payer])

        self.chain.load(each(), per_block=per_block)

    def truth(self, programs: Sequence[str] = (JOB_RECEIPT,)) -> list[Told]:
        """What the chain says, to whoever reads all of it in order and without trouble."""
        newest = self.chain.slot_at("confirmed")
        keys = map(Pubkey.from_string, programs)
        landed = {one.signature: one for key in keys for one in self.chain.history.of(key, newest)}
        return sorted(event for one in landed.values() for event in self._events(one))

    def _events(self, landed: Landed) -> list[Told]:
        """Of a transaction, as it landed."""
        place = (str(landed.signature), landed.slot)
        found = self._read.get(place)
        if found is None:
            config = {"encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 1}
            said = json.loads(Node(self.chain, Faults()).call("getTransaction", [place[0], config]))
            events = PROGRAMS.decoder.read(parse_transaction(said)).events
            found = self._read[place] = [(*one.key, landed.slot, one.name) for one in events]
        return found

    async def told(self) -> list[Told]:
        """What is in the table and counts."""
        return sorted(
            await self.rows(
                """SELECT signature, program, outer_ix, inner_ix, ordinal, slot, name FROM chain_events
                WHERE commitment <> 'orphaned'"""
            )
        )

    async def exact(self, programs: Sequence[str] = (JOB_RECEIPT,)) -> bool:
        """Whether exactly what the chain says is in the table."""
        return await self.told() == self.truth(programs)

    async def cursor(self, program: str = JOB_RECEIPT) -> dict[str, Any]:
        async with self.db.unit() as uow:
            row = await uow.sql.fetchrow("SELECT * FROM chain_cursors WHERE program = $1", program)
        return dict(row or {})

    async def quarantine(self) -> list[str]:
        """Reasons of what waits in quarantine."""
        rows = await self.rows("SELECT reason FROM chain_quarantine WHERE resolved_at IS NULL ORDER BY 1")
        return [row[0] for row in rows]

    async def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        async with self.db.unit() as uow:
            return [tuple(row.values()) for row in await uow.sql.fetch(statement, *values)]

    async def names(self) -> list[str]:
        """Names of the events that count, in the order of their slots."""
        return [
            row[0]
            for row in await self.rows("SELECT name FROM chain_events WHERE commitment <> 'orphaned' ORDER BY slot, id")
        ]

    async def count(self, commitment: str | None = None) -> int:
        found = await self.rows(
            "SELECT count(*) FROM chain_events WHERE $1::text IS NULL OR commitment = $1", commitment
        )
        return int(found[0][0])

    async def until(self, what: Callable[[], Any], seconds: float = DEADLINE_S) -> None:
        """Wait until ``await what()`` holds."""
        end = asyncio.get_running_loop().time() + seconds
        while not await what():
            assert asyncio.get_running_loop().time() < end, f"it did not happen within {seconds:g} s"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def world(
    database_url: str,
    *,
    limits: ScanLimits | None = None,
    spec_grace_s: float = 60.0,
    end_waits: tuple[float, ...] = (),
    **chain: Any,
) -> AsyncIterator[World]:
    """Slots advance by hand unless ``slot_ms`` says otherwise; 1 slot to confirmed, 4 to finalized.

    ``end_waits``: when scans look once more for what is before the end of history; a look takes its turn among faults.
    """
    config = ChainConfig(**{"slot_ms": 0, "confirm_depth": 1, "finalize_depth": 4, **chain})
    async with AsyncExitStack() as stack:
        # The end of a history is told from a hole in it by waiting, which every first scan would do.
        stack.enter_context(patch.object(lister, "EMPTY_WAIT_S", 0.0))
        stack.enter_context(patch.object(lister, "END_WAITS_S", end_waits))
        db = Database(database_url, pool_size=6)
        stack.push_async_callback(db.close)
        served = await stack.enter_async_context(serve(config))
        network = Network(served.chain)
        rpc = await stack.enter_async_context(RpcClient([Endpoint(served.url)], timeout_s=5.0, tries=3))
        index = ChainIndex(
            hyper_mint=str(network.money.mint),
            treasury=str(network.treasury),
            incentive_pool=str(network.incentive),
            spec_grace_s=spec_grace_s,
            defaults=JobDefaults("reputation_weighted", 600, 1, 600),
            default_price=UNIT // 10,
        )
        yield World(db, database_url, served, network, rpc, index, limits or ScanLimits())
