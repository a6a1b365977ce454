"""The chain_payments table: every payment event with its verdict, and the tokens that moved in its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.core.chain import Commitment, Verdict
from app.core.folding import Key
from app.core.payouts import Moved
from app.store.copying import copy_rows
from app.store.db import UnitOfWork
from app.store.rows import to_json


@dataclass(slots=True)
class PaymentRow:
    """One payment event. See the table's class for the fields; amounts are u64."""

    key: Key
    kind: str
    address: str | None
    mint: str | None
    total: int | None
    operator_amount: int
    treasury_amount: int
    incentive_amount: int
    orchestrator_amount: int | None
    verdict: Verdict
    commitment: Commitment
    slot: int
    block_time: datetime | None
    transfers: list[Moved] = field(default_factory=list)


_VERDICT = {one.value: one for one in Verdict}
_COMMITMENT = {one.value: one for one in Commitment}
_COLUMNS = (
    "signature", "program", "outer_ix", "inner_ix", "ordinal", "kind", "address", "mint", "total", "operator_amount",
    "treasury_amount", "incentive_amount", "orchestrator_amount", "verdict", "commitment", "slot", "block_time",
    "transfers",
)  # fmt: skip


async def of(uow: UnitOfWork, addresses: Sequence[str], signatures: Sequence[str]) -> list[PaymentRow]:
    """The payments of these accounts and in these transactions, with all others of the same transactions."""
    rows = await uow.sql.fetch(
        f"""SELECT {", ".join(_COLUMNS)} FROM chain_payments WHERE signature = ANY(ARRAY(
            SELECT signature FROM chain_payments WHERE address = ANY($1::text[]) UNION SELECT unnest($2::text[])))""",
        addresses,
        signatures,
    )
    return [_from(row) for row in rows]


def _from(row: Any) -> PaymentRow:
    (
        signature, program, outer, inner, ordinal, kind, address, mint, total, operator, treasury, incentive,
        orchestrator, verdict, commitment, slot, block_time, transfers,
    ) = row  # fmt: skip
    return PaymentRow(
        (signature, program, outer, inner, ordinal), kind, address, mint, _whole(total), int(operator), int(treasury),
        int(incentive), _whole(orchestrator), _VERDICT[verdict], _COMMITMENT[commitment], slot, block_time,
        [Moved(account, owner, of_mint, int(amount)) for account, owner, of_mint, amount in transfers],
    )  # fmt: skip


def _whole(amount: Any) -> int | None:
    return None if amount is None else int(amount)


async def add(uow: UnitOfWork, rows: Sequence[PaymentRow]) -> None:
    """Insert payments that are not there."""
    await copy_rows(uow, "chain_payments", _COLUMNS, [_values(row) for row in rows])


def _values(row: PaymentRow) -> tuple[Any, ...]:
    return (
        *row.key, row.kind, row.address, row.mint, row.total, row.operator_amount, row.treasury_amount,
        row.incentive_amount, row.orchestrator_amount, row.verdict.value, row.commitment.value, row.slot,
        row.block_time, _transfers(row),
    )  # fmt: skip


def _transfers(row: PaymentRow) -> str:
    # Amounts as text: a difference of two u64 may be below what JSON encoders take.
    return to_json([(one.account, one.owner, one.mint, str(one.amount)) for one in row.transfers])


async def replace(uow: UnitOfWork, rows: Sequence[PaymentRow]) -> None:
    """Write payments that are there as they are now, all of them."""
    if rows:
        await uow.sql.executemany(
            """UPDATE chain_payments SET kind = $6, address = $7, mint = $8, total = $9, operator_amount = $10,
                treasury_amount = $11, incentive_amount = $12, orchestrator_amount = $13, verdict = $14,
                commitment = $15, slot = $16, block_time = $17, transfers = $18
            WHERE signature = $1 AND program = $2 AND outer_ix = $3 AND inner_ix = $4 AND ordinal = $5""",
            [_values(row) for row in rows],
        )


async def judge(uow: UnitOfWork, rows: Sequence[PaymentRow]) -> None:
    """Write what may change of payments that are there: address, mint, verdict, commitment and slot."""
    if not rows:
        return
    await uow.sql.execute(
        """UPDATE chain_payments p SET address = u.address, mint = u.mint, verdict = u.verdict,
            commitment = u.commitment, slot = u.slot
        FROM json_to_recordset($1::json) AS u(signature text, program text, outer_ix int8, inner_ix int8, ordinal int8,
            address text, mint text, verdict text, commitment text, slot int8)
        WHERE p.signature = u.signature AND p.program = u.program AND p.outer_ix = u.outer_ix
            AND p.inner_ix = u.inner_ix AND p.ordinal = u.ordinal""",
        to_json(
            [
                {
                    **dict(zip(_COLUMNS[:5], row.key, strict=True)),
                    "address": row.address,
                    "mint": row.mint,
                    "verdict": row.verdict,
                    "commitment": row.commitment,
                    "slot": row.slot,
                }
                for row in rows
            ]
        ),
    )
