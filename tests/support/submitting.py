"""A local chain and a database with jobs on both, for tests of the transactions that the engine sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.token.state import Mint, TokenAccount, TokenAccountState

from app.chain.devchain import JOB_RECEIPT, NODE_REGISTRY, DevChain, Served, serve
from app.chain.devchain.emitter import JOB_SPACE
from app.chain.devchain.tokens import TOKEN
from app.chain.devchain.tokens import token_account as read_tokens
from app.chain.instructions import ProgramCalls, token_account
from app.chain.programs import Programs
from app.chain.rpc import Endpoint, RpcClient
from app.chain.submit import Submitter
from app.services import offers
from app.store.chain import cursors
from app.store.db import Database
from app.store.offers import OpenOffer
from graphs.runtime import WaveRunner
from tests import factories
from tests.factories import sql

PRICE = 1_000_000_007
RICH = 10**15
CALLS = ProgramCalls("job_receipt", JOB_RECEIPT)


@dataclass
class ChainJobs:
    """``keypair`` is the engine's; ``client`` owns the jobs and lets it move its tokens; ``operator`` owns the node."""

    served: Served
    rpc: RpcClient
    db: Database
    waves: WaveRunner
    keypair: Keypair = field(default_factory=Keypair)
    client: Keypair = field(default_factory=Keypair)
    operator: Keypair = field(default_factory=Keypair)
    mint: Pubkey = field(default_factory=Pubkey.new_unique)
    treasury: Pubkey = field(default_factory=Pubkey.new_unique)
    incentive_pool: Pubkey = field(default_factory=Pubkey.new_unique)
    epoch: int = 0
    offers: dict[str, OpenOffer] = field(default_factory=dict)
    addresses: dict[str, Pubkey] = field(default_factory=dict)

    @property
    def chain(self) -> DevChain:
        return self.served.chain

    async def submitter(self, **changes: Any) -> Submitter:
        """A new leader's, which finds everything due at once."""
        async with self.db.unit() as uow:
            self.epoch = await cursors.take_over(uow, "test")
        given = {
            "keypair": self.keypair,
            "hyper_mint": str(self.mint),
            "treasury": str(self.treasury),
            "incentive_pool": str(self.incentive_pool),
            "look_s": 0.0,
            **changes,
        }
        return Submitter(self.rpc, self.db, Programs(NODE_REGISTRY, JOB_RECEIPT), epoch=self.epoch, **given)

    def put(self, key: Pubkey, data: bytes = b"", owner: Pubkey | None = None) -> None:
        self.chain.set_account(key, Account(10**10, data, owner or Pubkey.default()))

    def give(self, owner: Pubkey, amount: int = 0, delegate: Pubkey | None = None) -> None:
        """Open ``owner``'s token account, which ``delegate`` may spend."""
        held = TokenAccount(self.mint, owner, amount, delegate, TokenAccountState.Initialized, None, RICH, None)
        self.put(token_account(owner, self.mint), bytes(held), TOKEN)

    def tokens(self, owner: Pubkey) -> int:
        held = read_tokens(self.chain.account(token_account(owner, self.mint)))
        return 0 if held is None else held.amount

    async def job(self, **columns: Any) -> str:
        """A job that a node of ours works on, and its account on chain, pending, as the listener tells it; its id."""
        job_id = await self.unknown()
        address = str(self.addresses[job_id])
        row = {"address": address, "chain_job_id": job_id, "status": "pending", "job_id": job_id, **columns}
        marks = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await sql(self.db, f"INSERT INTO chain_jobs ({', '.join(row)}) VALUES ({marks})", *row.values())
        await sql(self.db, "UPDATE jobs SET chain_job = $2 WHERE id = $1", job_id, address)
        return job_id

    async def unknown(self) -> str:
        """The same, but the listener has told of nothing yet."""
        (offer,) = await factories.accepted(self.db, self.waves)
        name, client = offer.job_id, bytes(self.client.pubkey())
        address, _ = Pubkey.find_program_address([b"job", client, name.encode()], CALLS.program_id)
        self.put(address, bytes(JOB_SPACE), CALLS.program_id)
        ((asked,),) = await sql(self.db, "SELECT requirements_hash FROM jobs WHERE id = $1", name)
        args = {"job_id": name, "job_type": 0, "price": PRICE, "requirements_hash": asked}
        self.call("create_job", args, {}, self.client)
        self.chain.advance()
        self.offers[name], self.addresses[name] = offer, address
        return name

    async def completed(self, **columns: Any) -> str:
        """A job that is assigned and completed on chain, finally, and here."""
        job_id = await self.job()
        self.assign(job_id)
        await self.complete(job_id, **columns)
        return job_id

    def assign(self, job_id: str, operator: Pubkey | None = None) -> None:
        """Have somebody else assign the job on chain."""
        accounts = {"job_account": self.addresses[job_id], "node_operator": operator or self.operator.pubkey()}
        self.call("assign_job", {"node_id": "a node"}, {**accounts, "authority": self.client.pubkey()}, self.client)

    async def complete(self, job_id: str, **columns: Any) -> None:
        """Have the operator report on both sides, and the listener tell of it."""
        await self.report(job_id)
        operator = str(self.operator.pubkey())
        said = {"status": "completed", "finalized": True, "completed_operator": operator, **columns}
        sets = ", ".join(f"{name} = ${number}" for number, name in enumerate(said, 2))
        await sql(self.db, f"UPDATE chain_jobs SET {sets} WHERE job_id = $1", job_id, *said.values())

    async def report(self, job_id: str) -> None:
        """Have the operator report on both sides, on chain for good."""
        operator = self.operator.pubkey()
        accounts = {"job_account": self.addresses[job_id], "operator": operator, "assigned_node": operator}
        self.call("submit_result", {"result_hash": "b" * 64, "logs_url": ""}, accounts, self.operator)
        self.chain.advance(40)
        offer = self.offers[job_id]
        await offers.report(self.db, [offers.new_report(offer.id, offer.node_id, ok=True)])
        await factories.run_waves(self.waves)

    def call(self, name: str, args: dict[str, Any], accounts: dict[str, Pubkey], signer: Keypair) -> None:
        step = CALLS.build(name, args, {"client": self.client.pubkey(), **accounts})
        landed = self.chain.send(self.chain.sign([step], [signer]))
        assert landed.err is None, landed.logs

    def account(self, job_id: str) -> dict[str, Any]:
        """The job's account on chain."""
        found = self.chain.account(self.addresses[job_id])
        decoder = Programs(NODE_REGISTRY, JOB_RECEIPT).decoder_of(JOB_RECEIPT)
        assert found is not None and decoder is not None
        return decoder.account(found.data)[1]

    def landed(self, job_id: str) -> list[str]:
        """Signatures of the engine's transactions that have landed for the job, oldest first."""
        history = self.chain.history.of(self.addresses[job_id], self.chain.slot)
        ours = self.keypair.pubkey()
        return [str(one.signature) for one in history if self.chain.parse(one.raw).message.account_keys[0] == ours]


@asynccontextmanager
async def chain_jobs(db: Database) -> AsyncIterator[ChainJobs]:
    """Everybody has SOL; the client, the treasury and the pool have token accounts, the operator has none yet."""
    async with serve(DevChain(slot_ms=0)) as served, RpcClient([Endpoint(served.url)]) as rpc:
        world = ChainJobs(served, rpc, db, factories.runner(db))
        for each in (world.keypair, world.client, world.operator):
            world.put(each.pubkey())
        world.put(world.mint, bytes(Mint(None, RICH, 9, True, None)), TOKEN)
        world.give(world.client.pubkey(), RICH, world.keypair.pubkey())
        world.give(world.treasury)
        world.give(world.incentive_pool)
        world.chain.advance(40)
        await factories.node(db, wallet=str(world.operator.pubkey()), capacity=8)
        yield world
