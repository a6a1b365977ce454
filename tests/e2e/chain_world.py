"""A network on a chain of its own, in a process of its own: ``python -m tests.e2e.chain_world SEED JOBS SLOT_MS``.

It says where it is reached, then answers orders, one JSON a line:

``{"play": {"given": […], "specs": […]}}`` sets the traffic off, a slot every SLOT_MS. ``{"look": {}}`` tells how far it
is. ``{"faults": […]}`` puts faults of the node in force, ``{"heal": {}}`` lifts them. ``{"end": {}}``, once all is
played, makes everything final and tells what the chain came to: every event, payment, job, node and token in its final
blocks. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any

from solders.pubkey import Pubkey

from app.chain.devchain.chain import DevChain
from app.chain.devchain.config import JOB_RECEIPT, NODE_REGISTRY, PAYMENT_SPLITTER
from app.chain.devchain.money import token_address
from app.chain.devchain.network import SHARES
from app.chain.devchain.server import serve
from tests.support.chain_ledger import Said, account_fields, events_of, final_transactions, tokens_moved
from tests.support.chain_traffic import (
    ASSIGNED,
    CANCELLED,
    COMPLETED,
    CREATED,
    DEREGISTERED,
    DISTRIBUTED,
    PROCESSED,
    REGISTERED,
    STATUS,
    End,
    Given,
    Meant,
    Traffic,
)

PROGRAMS = {NODE_REGISTRY: "node_registry", JOB_RECEIPT: "job_receipt", PAYMENT_SPLITTER: "payment_splitter"}
FINALIZE_DEPTH = 10
_JOB_STATUS = {0: "pending", 1: "assigned", 3: "completed", 5: "cancelled"}
_AFTER = {
    **{CREATED: "pending", ASSIGNED: "assigned", CANCELLED: "cancelled", COMPLETED: "completed"},
    **{DISTRIBUTED: "completed"},
}


class World:
    """The chain, who plays on it, and what it comes to."""

    def __init__(self, seed: int, jobs: int, slot_s: float) -> None:
        self.chain = DevChain(slot_ms=0, finalize_depth=FINALIZE_DEPTH, seed=seed)
        self.traffic = Traffic(self.chain, seed, jobs=jobs)
        self.before = self._tokens()
        self._slot_s = slot_s
        self._stage = "ready"
        self._playing: asyncio.Task[None] | None = None

    def hello(self) -> dict[str, Any]:
        network = self.traffic.network
        return {
            "mint": str(network.money.mint),
            "treasury": str(network.treasury),
            "incentive": str(network.incentive),
            "operators": [str(one.pubkey()) for one in self.traffic.operators],
        }

    def play(self, given: list[dict[str, Any]], specs: list[str]) -> None:
        self.traffic.begin([Given(**{**one, "end": End(one["end"])}) for one in given], specs)
        self._playing = asyncio.create_task(self._play())

    def look(self) -> dict[str, Any]:
        if self._playing is not None and self._playing.done():
            self._playing.result()
        return {"sent": len(self.traffic.meant), "slot": self.chain.slot, "stage": self._stage}

    def end(self) -> dict[str, Any]:
        """Raises AssertionError where the blocks say something else than was meant."""
        assert self._stage == "played"
        self.chain.advance(FINALIZE_DEPTH + 2)
        return Truth(self).told()

    async def _play(self) -> None:
        loop = asyncio.get_running_loop()
        due, more = loop.time(), True
        while True:
            if more:
                more = self.traffic.slot()
                self._stage = "playing" if more else "played"
            else:
                # A quiet chain goes on all the same.
                self.chain.advance()
            due = max(due + self._slot_s, loop.time())
            await asyncio.sleep(due - loop.time())

    def _tokens(self) -> dict[str, int]:
        found = {}
        for mint in (self.traffic.network.money.mint, self.traffic.fake.mint):
            for owner in self.traffic.owners:
                account = token_address(owner, mint)
                held = self.chain.account(account, "finalized")
                assert held is not None
                found[f"{account} {mint}"] = int.from_bytes(held.data[64:72], "little")
        return found

    def tokens(self) -> dict[str, int]:
        """What every token account has gained (+) or lost (-) since the beginning, for good."""
        now = self._tokens()
        return {place: amount - self.before[place] for place, amount in now.items() if amount != self.before[place]}


class Truth:
    """What the final blocks come to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._traffic = world.traffic
        self.events: list[Said] = []
        self.payments: list[dict[str, Any]] = []
        self.moved: dict[str, dict[str, int]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.nodes: dict[str, dict[str, Any]] = {}
        self.junk: dict[str, str] = {}
        self.failed = 0
        for landed in final_transactions(world.chain):
            said = events_of(landed, PROGRAMS)
            meant = self._traffic.meant.get(str(landed.signature), Meant())
            wanted = Counter(meant.events) if landed.err is None else Counter()
            assert Counter(one.name for one in said) == wanted, f"{landed}: {meant} and {said}"
            if landed.err is not None:
                self.failed += 1
            elif meant.quarantined:
                self.junk[str(landed.signature)] = meant.quarantined
            self.events += said
            for one in said:
                self._take(one, meant)
            if any(one.name in (DISTRIBUTED, PROCESSED) for one in said):
                self.moved[str(landed.signature)] = {
                    f"{account} {mint}": amount for (account, mint), amount in tokens_moved(landed).items()
                }
        self._check_accounts()

    def told(self) -> dict[str, Any]:
        traffic = self._traffic
        return {
            "slot": self._world.chain.slot_at("confirmed"),
            "events": [(*_key(one), one.slot, one.name, one.data, self._home(one)) for one in self.events],
            "payments": self.payments,
            "moved": self.moved,
            "tokens": self._world.tokens(),
            "jobs": self.jobs,
            "nodes": self.nodes,
            "junk": self.junk,
            "lost_junk": [
                signature
                for signature, meant in traffic.meant.items()
                if meant.quarantined and signature not in self.junk
            ],
            "figures": {
                "events": len(self.events),
                "forks": traffic.forks,
                "landed again": traffic.relanded,
                "dropped": traffic.dropped,
                "failed": self.failed,
            },
        }

    def _home(self, one: Said) -> str | None:
        """The account that the event is of. Those of the splitter are of none, and names alone tell of no account."""
        story = self._traffic.story_of.get(one.signature)
        return None if story is None or one.name == PROCESSED else story.address

    def _take(self, one: Said, meant: Meant) -> None:
        story = self._traffic.story_of.get(one.signature)
        if story is not None and story.kind == "job" and one.name in _AFTER:
            self._take_job(self.jobs.setdefault(story.address, _new_job(story.name)), one, meant)
        elif story is not None and story.kind == "node":
            self._take_node(self.nodes.setdefault(story.address, {"chain_node_id": story.name}), one)
        if one.name in (DISTRIBUTED, PROCESSED):
            shares = {f"{who}_amount": one.data.get(f"{who}_amount") for who in SHARES}
            total = one.data.get("total_amount")
            self.payments.append(
                {
                    "key": _key(one),
                    "kind": "distributed" if one.name == DISTRIBUTED else "processed",
                    "address": story.address if story is not None else None,
                    "verdict": meant.verdict,
                    "total": total,
                    **shares,
                }
            )

    def _take_job(self, job: dict[str, Any], one: Said, meant: Meant) -> None:
        job["status"] = _AFTER[one.name]
        if one.name == CREATED:
            job |= {"client": one.data["client"], "price": one.data["price"]}
        elif one.name == ASSIGNED:
            job |= {"assigned_operator": one.data["node_operator"], "chain_node_id": one.data["node_id"]}
        elif one.name == COMPLETED:
            job |= {"completed_operator": one.data["operator"], "result_hash": one.data["result_hash"]}
        elif one.name == DISTRIBUTED:
            job["payment"] = "valid" if meant.verdict == "valid" else "invalid"
            job["payment_reason"] = None if meant.verdict == "valid" else meant.verdict

    def _take_node(self, node: dict[str, Any], one: Said) -> None:
        if one.name == REGISTERED:
            node |= {"registered": True, "status": None, "owner": one.data["owner"]}
        elif one.name == STATUS:
            (name,) = one.data["status"]
            node["status"] = name.lower()
        elif one.name == DEREGISTERED:
            node["registered"] = False

    def _check_accounts(self) -> None:
        """Hold what events came to against the accounts, which also say what no event does."""
        for address, job in self.jobs.items():
            fields = self._account(address, "job_receipt", "JobAccount")
            assert fields is not None, address
            assert (_JOB_STATUS[fields["status"]], fields["price"]) == (job["status"], job["price"]), address
            job["requirements_hash"] = fields["requirements_hash"]
        for address, node in self.nodes.items():
            fields = self._account(address, "node_registry", "NodeAccount")
            assert (fields is not None) == node["registered"], address
            if fields is not None:
                (status,) = fields["status"]
                assert status.lower() == (node["status"] or "online"), address
                node |= {name: fields[name] for name in ("location", "stake_amount", "reputation_score")}

    def _account(self, address: str, program: str, kind: str) -> dict[str, Any] | None:
        found = self._world.chain.account(Pubkey.from_string(address), "finalized")
        return None if found is None else account_fields(program, kind, found.data)


def _key(one: Said) -> tuple[str, str, int, int, int]:
    return one.signature, one.program, one.outer, one.inner, one.ordinal


def _new_job(name: str) -> dict[str, Any]:
    unknown = dict.fromkeys(("chain_node_id", "assigned_operator", "completed_operator", "result_hash"))
    return {"chain_job_id": name, **unknown, "payment": "none", "payment_reason": None}


async def main(seed: int, jobs: int, slot_ms: float) -> None:
    world = World(seed, jobs, slot_ms / 1000)
    loop = asyncio.get_running_loop()
    async with serve(world.chain) as served:
        _say({"url": served.url, "ws_url": served.ws_url, **world.hello()})
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            ((order, what),) = json.loads(line).items()
            if order == "play":
                world.play(**what)
                _say({})
            elif order == "look":
                _say(world.look())
            elif order == "faults":
                for fault in what:
                    served.faults.add(**fault)
                _say({})
            elif order == "heal":
                served.faults.clear()
                _say({})
            else:
                _say(world.end())


def _say(what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
