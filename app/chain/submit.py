"""Sends assign_job and settle_job for the jobs that call for them, each once.

A transaction is signed and kept in its row, with the last block height at which it can land, before it is sent. From
then on the same bytes are sent again until the chain has finalized them, or provably never will: the finalized block is
past that height, and a node that has seen this block knows nothing of the signature. Only then is another one built. So
however often a process dies, and wherever, no two transactions of one row can both land.

Blockhashes are taken at ``finalized``: every fork has them, so that no fork makes a kept transaction worthless; it
costs some 30 of the 150 blocks that a transaction has to land. What is to be sent is tried out before it is kept, which
finds missing funds and refusals of the program for free; once it is kept, only its landing or its expiry decides.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from app.chain import sending
from app.chain.decode import DecodeError
from app.chain.instructions import ProgramCalls, create_token_account, token_account
from app.chain.programs import Programs
from app.chain.rpc import RpcClient, RpcError
from app.chain.sending import Status, Trial
from app.core.chain import OutgoingKind, OutgoingState
from app.core.retry import backoff_s
from app.core.states import JobState
from app.store.chain import cursors, outgoing
from app.store.chain.outgoing import Built, Move, Outgoing
from app.store.db import Database

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Seconds between looks at a sent transaction, each of which sends it again while it is unknown."""
AT_ONCE = 100
"""Rows of one round at most: their accounts come in one answer, of one slot."""
MAX_BUILDS = 5
"""Tries after which a transaction is given up, whether the trial failed or it expired."""

_PENDING, _COMPLETED, _OVER = 0, 3, {4: "failed", 5: "cancelled"}
"""A job's status on chain."""
_ON_NODE = frozenset({JobState.ASSIGNED, JobState.RUNNING, JobState.COMPLETED})
_SENT, _READY, _DONE, _FAILED = OutgoingState.SENT, OutgoingState.READY, OutgoingState.DONE, OutgoingState.FAILED


@dataclass(frozen=True, slots=True)
class _Purse:
    """HYPER's mint, and the wallets of the treasury and of the incentive pool."""

    mint: Pubkey
    treasury: Pubkey
    incentive_pool: Pubkey


class Submitter:
    """Sends for one leader. ``keypair`` signs and pays; clients' tokens must be its to move. ``look_s``: see LOOK_S.

    Jobs are settled only where ``hyper_mint``, ``treasury`` and ``incentive_pool`` are all given.
    """

    def __init__(
        self,
        rpc: RpcClient,
        db: Database,
        programs: Programs,
        keypair: Keypair,
        hyper_mint: str,
        treasury: str,
        incentive_pool: str,
        epoch: int,
        *,
        look_s: float = LOOK_S,
    ) -> None:
        self._rpc = rpc
        self._db = db
        self._programs = programs
        self._calls = ProgramCalls("job_receipt", programs.job_receipt)
        self._keypair = keypair
        self._authority = keypair.pubkey()
        given = (hyper_mint, treasury, incentive_pool)
        self._purse = _Purse(*map(Pubkey.from_string, given)) if all(given) else None
        self._epoch = epoch
        self._look_s = look_s
        if self._purse is None:
            log.warning("no job is settled: chain.hyper_mint, chain.treasury and chain.incentive_pool are not all set")

    async def round(self) -> int:
        """Plan what is called for and drive what is due; how many rows that were.

        Raises LeadershipLost, RpcUnavailable and RpcError; the next round goes on where this one ended.
        """
        async with self._db.unit() as uow:
            await cursors.guard(uow, self._epoch)
            await outgoing.plan(uow, settle=self._purse is not None)
            due = await outgoing.due(uow, AT_ONCE)
        sent = [row for row in due if row.state is _SENT]
        if sent:
            await self._follow(sent)
        ready = [row for row in due if row.state is _READY]
        if ready:
            await self._begin(ready)
        return len(due)

    # --- what was sent ------------------------------------------------------------------------------------------

    async def _follow(self, rows: Sequence[Outgoing]) -> None:
        """See what became of sent transactions; send again those that nobody knows and that can still land."""
        said = await sending.standing(self._rpc, [row.signature or "" for row in rows])
        moves: list[Move] = []
        again: list[bytes] = []
        failed: list[tuple[Outgoing, Status]] = []
        for row, status in zip(rows, said.statuses, strict=True):
            assert row.wire is not None and row.last_valid_block_height is not None
            if status is not None and status.final and status.err is not None:
                failed.append((row, status))
            elif status is not None:
                # A fork may take back what is not final, and land it anew with another end.
                moves.append(Move(row, _DONE) if status.final else Move(row, _SENT, self._look_s))
            elif row.last_valid_block_height < said.dead_below:
                moves.append(_expired(row))
            else:
                moves.append(Move(row, _SENT, self._look_s))
                again.append(row.wire)
        logs = await sending.failure_logs(self._rpc, [row.signature or "" for row, _ in failed])
        for (row, status), lines in zip(failed, logs, strict=True):
            moves.append(Move(row, _FAILED, error=self._calls.failure(status.err, lines)))
        await self._carry_out(moves)
        await sending.hand_in(self._rpc, again)

    # --- what is to be sent -------------------------------------------------------------------------------------

    async def _begin(self, rows: Sequence[Outgoing]) -> None:
        """Build, try out, keep and send what is still called for."""
        drafts, moves = await self._drafts(rows)
        built: list[Built] = []
        if drafts:
            blockhash, height = await self._rpc.latest_blockhash("finalized")
            signed = [self._signed(row, steps, blockhash, height) for row, steps in drafts]
            trials = await sending.tried(self._rpc, [one.wire for one in signed], max(row.slot for row, _ in drafts))
            unpaid = [one.err for one in trials if isinstance(one, Trial) and one.err is not None and not one.ran]
            if unpaid:
                # Nothing is wrong with the jobs; most often, the keypair has no SOL.
                log.warning("%d transactions cannot be sent by %s: %s", len(unpaid), self._authority, unpaid[0])
            for one, trial in zip(signed, trials, strict=True):
                refused = self._refused(one.row, trial)
                if refused is None:
                    built.append(one)
                else:
                    moves.append(refused)
        await self._carry_out(moves)
        if built:
            async with self._db.unit() as uow:
                await cursors.guard(uow, self._epoch)
                kept = await outgoing.keep_built(uow, built, self._look_s)
            for one in kept:
                log.info("%s of %s goes out as %s", one.row.kind, one.row.job_id, one.signature)
            await sending.hand_in(self._rpc, [one.wire for one in kept])

    async def _drafts(self, rows: Sequence[Outgoing]) -> tuple[list[tuple[Outgoing, list[Instruction]]], list[Move]]:
        """What the jobs' accounts on chain leave to be done, and what becomes of the other rows."""
        drafts: list[tuple[Outgoing, list[Instruction]]] = []
        moves: list[Move] = []
        settled: list[Outgoing] = []
        for row, job in zip(rows, await self._jobs(rows, "confirmed"), strict=True):
            if row.over:
                moves.append(Move(row, _FAILED, error=f"the job is {row.job_state}"))
            elif job is None:
                moves.append(self._wait(row, "the job has no account on chain at present"))
            elif _end(row, job) is not None:
                settled.append(row)
            elif not self._called_for(row, job):
                moves.append(self._wait(row, "not called for at present"))
            else:
                try:
                    drafts.append((row, self._steps(row, job)))
                except ValueError as error:
                    why = f"{row.operator} at {row.node_name} cannot be named on chain: {error}"
                    last = row.job_state is JobState.COMPLETED
                    moves.append(Move(row, _FAILED, error=why) if last else self._wait(row, why))
        # Giving up is for good, so it takes what is for good.
        for row, job in zip(settled, await self._jobs(settled, "finalized"), strict=True):
            end = None if job is None else _end(row, job)
            moves.append(end or Move(row, _READY, self._look_s))
        return drafts, moves

    async def _jobs(self, rows: Sequence[Outgoing], commitment: str) -> list[Mapping[str, Any] | None]:
        """The accounts of the rows' jobs, None for what is none. At ``confirmed``: no older than what we know."""
        wanted = [row for row in rows if row.address is not None]
        newest = max((row.slot for row in wanted), default=0) if commitment == "confirmed" else 0
        accounts = await self._rpc.accounts(
            [row.address or "" for row in wanted], commitment=commitment, min_slot=newest or None
        )
        decoder = self._programs.decoder_of(self._programs.job_receipt)
        assert decoder is not None
        found: dict[str, Mapping[str, Any]] = {}
        for row, account in zip(wanted, accounts, strict=True):
            if account is None or account.owner != self._programs.job_receipt:
                continue
            try:
                found[row.address or ""] = decoder.account(account.data)[1]
            except DecodeError as error:
                log.warning("account %s of ours cannot be read: %s", row.address, error)
        return [found.get(row.address or "") for row in rows]

    def _called_for(self, row: Outgoing, job: Mapping[str, Any]) -> bool:
        """Whether what the row was planned for still holds: jobs are taken from their nodes, settings change."""
        if row.kind is OutgoingKind.ASSIGN_JOB:
            return row.job_state in _ON_NODE and row.operator is not None
        return row.payable is not None and self._purse is not None and job["status"] == _COMPLETED

    def _steps(self, row: Outgoing, job: Mapping[str, Any]) -> list[Instruction]:
        """The instructions. Raises ValueError when the operator's names cannot be put into one."""
        accounts = {"job_account": Pubkey.from_string(row.address or ""), "authority": self._authority}
        if row.kind is OutgoingKind.ASSIGN_JOB:
            accounts["node_operator"] = Pubkey.from_string(row.operator or "")
            return [self._calls.build("assign_job", {"node_id": row.node_name}, accounts)]
        purse = self._purse
        assert purse is not None
        operator = Pubkey.from_string(row.payable or "")
        accounts |= {
            "client_token_account": token_account(Pubkey.from_string(job["client"]), purse.mint),
            "operator_token_account": token_account(operator, purse.mint),
            "treasury_token_account": token_account(purse.treasury, purse.mint),
            "incentive_pool_account": token_account(purse.incentive_pool, purse.mint),
        }
        # Whoever is paid for the first time has no account to be paid into.
        opened = create_token_account(self._authority, operator, purse.mint)
        return [opened, self._calls.build("settle_job", {}, accounts)]

    def _signed(self, row: Outgoing, steps: list[Instruction], blockhash: str, height: int) -> Built:
        message = Message.new_with_blockhash(steps, self._authority, Hash.from_string(blockhash))
        transaction = VersionedTransaction(message, [self._keypair])
        return Built(row, row.address or "", str(transaction.signatures[0]), bytes(transaction), height)

    def _refused(self, row: Outgoing, trial: Trial | RpcError) -> Move | None:
        """What becomes of the row after a trial that failed; None when it did not."""
        if isinstance(trial, RpcError):
            return self._wait(row, str(trial))
        if trial.err is None:
            return None
        error = self._calls.failure(trial.err, trial.logs or ())
        if not trial.ran:
            return self._wait(row, error)
        tries = row.builds + 1
        if tries >= MAX_BUILDS:
            return Move(row, _FAILED, error=error, builds=tries)
        wait_s = backoff_s(tries, base_s=5 * self._look_s, cap_s=150 * self._look_s)
        return Move(row, _READY, wait_s, error, tries)

    def _wait(self, row: Outgoing, why: str) -> Move:
        return Move(row, _READY, 5 * self._look_s, why)

    async def _carry_out(self, moves: Sequence[Move]) -> None:
        if not moves:
            return
        async with self._db.unit() as uow:
            await cursors.guard(uow, self._epoch)
            await outgoing.move(uow, moves)
        for one in moves:
            if one.state is _FAILED:
                log.warning("%s of %s failed: %s", one.row.kind, one.row.job_id, one.error)
            elif one.state is _DONE:
                log.info("%s of %s is done", one.row.kind, one.row.job_id)


def _end(row: Outgoing, job: Mapping[str, Any]) -> Move | None:
    """How the row ends without a transaction, because the job's account is past it; None while it is not."""
    status = job["status"]
    if status in _OVER:
        return Move(row, _FAILED, error=f"the job is {_OVER[status]} on chain")
    if row.kind is OutgoingKind.ASSIGN_JOB:
        if status == _PENDING:
            return None
        if job["assigned_node"] == row.operator:
            return Move(row, _DONE)
        return Move(row, _FAILED, error=f"the job is assigned to {job['assigned_node']} on chain")
    return Move(row, _DONE) if job["payment_settled"] else None


def _expired(row: Outgoing) -> Move:
    """The transaction has not landed and never will: another one is built, unless that was the last."""
    why = "expired before it landed"
    if row.builds >= MAX_BUILDS:
        return Move(row, _FAILED, error=why)
    log.warning("%s of %s: %s %s; another one is built", row.kind, row.job_id, row.signature, why)
    return Move(row, _READY, error=why)
