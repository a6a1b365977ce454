"""What the chain's side writes of a job, for tests of what follows from it."""

from __future__ import annotations

import itertools
from typing import Any

from app.core.chain import PaymentState
from app.core.events import SignalKind
from app.store import signals
from app.store.db import Database

_numbers = itertools.count(1)


async def link(db: Database, job_id: str, **columns: Any) -> str:
    """Give the job an account on chain, with these columns of its row; its address."""
    address = f"ChainJob{next(_numbers):036d}"
    row = {"address": address, "chain_job_id": job_id[:32], "status": "pending", "job_id": job_id, **columns}
    async with db.unit() as uow:
        marks = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await uow.sql.execute(f"INSERT INTO chain_jobs ({', '.join(row)}) VALUES ({marks})", *row.values())
        await uow.sql.execute("UPDATE jobs SET chain_job = $2 WHERE id = $1", job_id, address)
        await signals.add(uow, [(job_id, SignalKind.CHAIN_CREATED, None)])
    return address


async def say(db: Database, job_id: str, payment: PaymentState, **columns: Any) -> None:
    """Have the job's account say this of its payment, and its job looked at, in one transaction."""
    changed = {"payment": payment.value, **columns}
    async with db.unit() as uow:
        sets = ", ".join(f"{name} = ${number}" for number, name in enumerate(changed, 2))
        await uow.sql.execute(f"UPDATE chain_jobs SET {sets} WHERE job_id = $1", job_id, *changed.values())
        await signals.add(uow, [(job_id, SignalKind.CHAIN_PAYMENT, None)])


async def pay(db: Database, address: str, signature: str, slot: int, commitment: str = "confirmed") -> None:
    """Store a payment event of the account."""
    async with db.unit() as uow:
        await uow.sql.execute(
            """INSERT INTO chain_payments (signature, program, outer_ix, inner_ix, ordinal, kind, address,
                operator_amount, treasury_amount, incentive_amount, verdict, commitment, slot)
            VALUES ($1, 'program', 0, -1, 0, 'distributed', $2, 80, 10, 5, 'valid', $3, $4)""",
            signature,
            address,
            commitment,
            slot,
        )
