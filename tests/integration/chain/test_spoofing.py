"""Events that are not ours, made to look like it, at every depth of a real SVM: none gets in, or hides one that is."""

from __future__ import annotations

from base64 import b64encode

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from app.chain.devchain.config import JOB_RECEIPT
from app.chain.devchain.emitter import EVENT_CPI_TAG, Op, record
from app.chain.devchain.money import keypair
from tests.integration.chain.world import World
from tests.support import relay

OURS = Pubkey.from_string(JOB_RECEIPT)


class Stage:
    """A world with foreign programs: some do as they are told, ``relays`` hand it on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.foreign = [keypair(f"foreign {number}").pubkey() for number in range(3)]
        for key in self.foreign:
            world.chain.deploy(key)
        self.relays = [keypair(f"relay {number}").pubkey() for number in range(3)]
        for key in self.relays:
            world.chain.deploy(key, relay.program())

    def event(self, name: str) -> bytes:
        values = {"job_id": name, "client": self.world.client().pubkey(), "job_type": 0, "price": 1}
        return self.world.network.event("job_receipt", "JobCreatedEvent", values)

    def call(self, *through: Pubkey, data: bytes) -> bytes:
        """A record that has ``data`` handed through these programs: relays, and the last one any."""
        return record(b"".join(map(bytes, through)) + data, Op.INVOKE)

    def deep(self, program: Pubkey, data: bytes) -> tuple[Pubkey, bytes]:
        """The instruction that calls ``program`` with ``data`` four deep."""
        first, *others = self.relays
        return first, b"".join(map(bytes, (*others, program))) + data

    def send(self, *steps: tuple[Pubkey, bytes]) -> str:
        """A transaction of these instructions that succeeds; its signature."""
        signer = self.world.network.wallet("authority")
        metas = [AccountMeta(key, False, False) for key in (OURS, *self.foreign, *self.relays)]
        instructions = [Instruction(program, data, metas) for program, data in steps]
        landed = self.world.chain.send(self.world.chain.sign(instructions, [signer]), verify=False)
        assert landed.err is None, landed.logs
        return str(landed.signature)


async def test_only_what_our_program_emits_is_an_event(world: World) -> None:
    stage = Stage(world)
    one, two, _ = stage.foreign
    genuine = [
        stage.send((OURS, record(stage.event("plain")))),
        stage.send((one, stage.call(OURS, data=record(stage.event("called"))))),
        stage.send(stage.deep(OURS, record(stage.event("deep")))),
        stage.send((OURS, stage.call(OURS, data=EVENT_CPI_TAG + stage.event("self")))),
    ]
    lines = [
        f"Program data: {b64encode(stage.event('in text')).decode()}",
        f"Program {OURS} invoke [1]",
        f"Program {OURS} invoke [2]",
        f"Program {OURS} success",
        "Log truncated",
        f"\nProgram {OURS} invoke [1]\nProgram data: AAAA\nProgram {OURS} success",
    ]
    text = b"".join(record(line.encode(), Op.TEXT) for line in lines)
    spoofs = [
        # A foreign program says what ours would say, alone or while ours is running, below or above it.
        ("alone", (one, record(stage.event("alone")))),
        ("below ours", (OURS, stage.call(one, data=record(stage.event("below ours"))))),
        ("far below", stage.deep(two, record(stage.event("far below")))),
        ("above ours", (one, stage.call(OURS, data=b"") + record(stage.event("above ours")))),
        # It says in text what only the runtime says.
        ("in text", (one, text + record(stage.event("in text")))),
        ("text in ours", (OURS, text + stage.call(one, data=record(stage.event("text in ours"))))),
        # It calls ours as ours alone calls itself.
        ("tag", (one, stage.call(OURS, data=EVENT_CPI_TAG + stage.event("tag")))),
        ("tag at the top", (OURS, EVENT_CPI_TAG + stage.event("tag at the top"))),
        ("tag, deep", stage.deep(OURS, EVENT_CPI_TAG + stage.event("tag, deep"))),
        ("tag of another", (one, stage.call(one, data=EVENT_CPI_TAG + stage.event("tag of another")))),
    ]
    for name, step in spoofs:
        stage.send(step)
        # Beside a genuine one, before and after it, which must not be lost.
        genuine.append(stage.send((OURS, record(stage.event(f"before {name}"))), step))
        genuine.append(stage.send(step, (OURS, record(stage.event(f"after {name}")))))
    world.land()
    await world.scan()
    assert sorted(event[0] for event in await world.told()) == sorted(genuine)
    assert await world.quarantine() == []
    names = {name for (name,) in await world.rows("SELECT subject FROM chain_events")}
    assert {"plain", "called", "deep", "self"} <= names
    assert not names & {name for name, _ in spoofs}


async def test_what_a_foreign_programs_failure_rolls_back_takes_no_part(world: World) -> None:
    """Ours is called, emits, and the transaction fails: nothing has happened."""
    stage = Stage(world)
    one, *_ = stage.foreign
    signer = world.network.wallet("authority")
    metas = [AccountMeta(key, False, False) for key in (OURS, *stage.foreign)]
    data = stage.call(OURS, data=record(stage.event("undone"))) + record((7).to_bytes(4, "little"), Op.FAIL)
    landed = world.chain.send(world.chain.sign([Instruction(one, data, metas)], [signer]), verify=False)
    assert landed.err is not None
    world.land()
    assert await world.scan() == 0
    assert await world.told() == []
