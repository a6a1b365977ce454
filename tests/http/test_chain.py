"""What the faces tell of the chain: a job's account, its settlement, and, to operators, the reading itself."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from app.core.chain import PaymentState
from app.services import offers
from tests import factories
from tests.http.catalogue import JOB
from tests.http.conftest import as_
from tests.support import chain_rows
from tests.support.live_engine import Hae, Node, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def paid_job(still: Hae, gpu: str) -> tuple[str, str]:
    """A completed job of alice with an account on chain and a final payment; its id and its account's address."""
    db, name = still.engine.db, f"chain-{gpu}"
    node = await Node.register(as_(still, "miner"), name, gpu_model=gpu, capabilities=["inference"])
    job_id = (await as_(still, "alice").post("/v1/jobs", json={**JOB, "gpu_models": [gpu]})).json()["job_id"]
    address = await chain_rows.link(
        db, job_id, chain_job_id="named-on-chain", price=2**64 - 1, completed_operator=name, status="completed"
    )
    await still.settle()
    (offer,) = [offer for offer in await factories.all_offers(db) if offer.job_id == job_id]
    assert await offers.accept(db, [(offer.id, node.id)]) == [None]
    await offers.report(db, [offers.new_report(offer.id, node.id, ok=True)])
    await still.settle()
    for slot, kind in enumerate(("first", "second", "gone")):
        await chain_rows.pay(db, address, f"{gpu}-{kind}", slot, "orphaned" if kind == "gone" else "finalized")
    await chain_rows.say(db, job_id, PaymentState.VALID)
    await still.settle()
    return job_id, address


async def test_a_job_shows_its_account_on_chain_and_its_settlements_moves(still: Hae) -> None:
    alice = as_(still, "alice")
    job_id, address = await paid_job(still, "shown")
    shown = (await alice.get(f"/v1/jobs/{job_id}")).json()
    assert (shown["state"], shown["settlement"]) == ("completed", "settled")
    assert shown["chain"] == {
        "address": address,
        "chain_job_id": "named-on-chain",
        "price_hyper": "18446744073.709551615",
        "status": "completed",
        "payment": "valid",
        "payment_reason": "",
        "mismatch": "",
        "signatures": ["shown-first", "shown-second"],
    }
    assert (await alice.post("/v1/tools/get_job", json={"job_id": job_id})).json() == shown
    told = (await alice.get(f"/v1/jobs/{job_id}/history")).json()
    assert [one["to_state"] for one in told["transitions"]][-1] == "completed"
    assert [{**one, "at": ""} for one in told["settlement"]] == [
        {"from_state": "awaiting", "to_state": "observed", "reason": "payment_seen", "actor": "chain", "at": ""},
        {"from_state": "observed", "to_state": "settled", "reason": "payment_final", "actor": "chain", "at": ""},
    ]
    recent = (await still.client().get("/api/validation")).json()["recentJobs"]
    assert {job["job_id"]: job["tx_signature"] for job in recent}[job_id] == "shown-second"


async def test_a_stream_asked_for_again_tells_of_the_payment_and_ends(still: Hae) -> None:
    alice = as_(still, "alice")
    job_id, _ = await paid_job(still, "streamed")
    path = f"/v1/jobs/{job_id}/events"

    async def told(last: int = 0) -> list[tuple[str, dict[str, Any]]]:
        answer = await alice.get(path, headers={"last-event-id": str(last)} if last else {})
        if answer.status_code == 204:
            return []
        blocks = [
            dict(line.split(": ", 1) for line in block.split("\r\n"))
            for block in answer.text.split("\r\n\r\n")
            if "data: " in block
        ]
        return [(block["id"], json.loads(block["data"])) for block in blocks]

    everything = await told()
    assert [event["event"] for _, event in everything][-3:] == [
        "job_completed", "payment_observed", "payment_distributed",
    ]  # fmt: skip
    ends = [int(seq) for seq, event in everything if event["event"] == "job_completed"]
    later = await told(ends[0])
    assert later == everything[-2:]
    assert (later[-1][1]["amount_hyper"], later[-1][1]["tx_signature"]) == ("18446744073.709551615", "streamed-second")
    assert await told(int(later[-1][0])) == []


async def test_operators_see_how_far_the_chain_was_read(still: Hae) -> None:
    ops = as_(still, "ops")
    empty = (await ops.get("/internal/chain")).json()
    assert (empty["programs"], empty["quarantine"], empty["lag_slots"], empty["seen_at"]) == ([], {}, 0, "")
    await still.sql.execute(
        """UPDATE chain_leader SET epoch = 3, holder = 'here', finalized_slot = 70, tip_slot = 100;
        INSERT INTO chain_cursors (program, slot, signature, stalled)
            VALUES ('ProgramA', 90, 'sigA', NULL), ('ProgramB', 60, NULL, 'null page');
        INSERT INTO chain_pages (program, entries, done)
            VALUES ('ProgramB', '[["s3", 3], ["s2", 2], ["s1", 1]]', 1), ('ProgramB', '[["s4", 4]]', 0);
        INSERT INTO chain_outgoing (kind, job_id, address, state) VALUES ('assign_job', 'j', 'a', 'ready')"""
    )
    now = (await ops.get("/internal/chain")).json()
    assert now == {
        "programs": [
            {
                "program": "ProgramA", "slot": 90, "signature": "sigA", "pending_pages": 0, "pending_signatures": 0,
                "stalled": "", "moved_at": "", "lag_slots": 10,
            },
            {
                "program": "ProgramB", "slot": 60, "signature": "", "pending_pages": 2, "pending_signatures": 3,
                "stalled": "null page", "moved_at": "", "lag_slots": 40,
            },
        ],
        "finalized_slot": 70, "tip_slot": 100, "lag_slots": 40, "epoch": 3, "holder": "here", "seen_at": "",
        "quarantine": {}, "events": {}, "outgoing": {"ready": 1},
    }  # fmt: skip


async def test_operators_page_through_the_quarantine(still: Hae) -> None:
    ops = as_(still, "ops")
    rows = [
        (f"sig{'abc'[number % 3]}", "Program", number, -1, number % 2, 5 + number // 3, "no_schema", None, b"\x00\xff")
        for number in range(10)
    ]
    columns = "signature, program, outer_ix, inner_ix, ordinal, slot, reason, detail, raw"
    await still.sql.executemany(
        f"INSERT INTO chain_quarantine ({columns}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", rows
    )
    await still.sql.execute("UPDATE chain_quarantine SET resolved_at = now(), reason = 'bad_length' WHERE outer_ix = 4")
    assert (await ops.get("/internal/chain")).json()["quarantine"] == {"no_schema": 9}
    found: list[dict[str, Any]] = []
    query = {"limit": "4", "cursor": ""}
    while True:
        page = (await ops.get("/internal/chain/quarantine", params=query)).json()
        found += page["entries"]
        query["cursor"] = page["next_cursor"]
        if not page["next_cursor"]:
            break
    assert len(found) == 9
    place = [(one["slot"], one["signature"], one["outer"]) for one in found]
    assert place == sorted(place, reverse=True)
    assert base64.b64decode(found[0]["raw_base64"]) == b"\x00\xff"
    solved = await ops.get("/internal/chain/quarantine", params={"resolved": "true", "reason": "bad_length"})
    assert [one["outer"] for one in solved.json()["entries"]] == [4]
    assert (await ops.get("/internal/chain/quarantine", params={"reason": "other"})).json()["entries"] == []
    for wrong in (
        {"cursor": "x"},
        {"cursor": "1.a.b.c.d.e"},
        {"limit": "0"},
        {"reason": "x" * 41},
        {"cursor": "1.0.0.1.1.1"},
    ):
        problem_of(await ops.get("/internal/chain/quarantine", params=wrong), 422, code="invalid_input")
