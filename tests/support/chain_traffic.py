"""What a whole network does on a local chain: jobs and nodes live, payments are right and wrong, others make noise,
forks take some of it back.

The same seed plays the same, slot by slot. What every transaction was meant to say is kept by its signature; what of it
is left in the end, only the chain's final blocks say (chain_ledger).
"""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from app.chain.devchain.chain import DevChain
from app.chain.devchain.emitter import EVENT_CPI_TAG, Op, record
from app.chain.devchain.money import Money, keypair, transfer
from app.chain.devchain.network import SHARES, Network, Payment, Style
from app.chain.devchain.records import Landed

CREATED, ASSIGNED, COMPLETED, CANCELLED = (
    "JobCreatedEvent",
    "JobAssignedEvent",
    "JobCompletedEvent",
    "JobCancelledEvent",
)
DISTRIBUTED, PROCESSED = "PaymentDistributedEvent", "PaymentProcessedEvent"
REGISTERED, STATUS, DEREGISTERED = "NodeRegistered", "NodeStatusUpdated", "NodeDeregistered"
RICH = 10**17
U64_MAX = 2**64 - 1
PLACES = ("EU", "Berlin, DE", "Virginia, US", "Tokyo, JP", "nowhere in particular", "São Paulo, BR")


class End(StrEnum):
    """How a job ends on chain."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    CANCELLED = "cancelled"
    UNPAID = "unpaid"
    PAID = "paid"
    SPLIT_TOLD = "split_told"
    """Paid, and the splitter tells of it, too."""
    FAKE = "fake_mint"
    SHORT = "wrong_amounts"
    NOTHING = "no_transfer"
    STRANGER = "wrong_operator"
    """Somebody else than its operator is paid."""
    UNEVEN = "wrong_split"
    SNATCHED = "snatched"
    """Assigned to, done by and paid to another operator than the engine's."""


VERDICTS = {End.PAID: "valid", End.SPLIT_TOLD: "valid", End.SNATCHED: "wrong_operator"}
WRONG = (End.FAKE, End.SHORT, End.NOTHING, End.STRANGER, End.UNEVEN)
VERDICTS |= {end: end.value for end in WRONG}
_ENDS = {
    **{End.PENDING: 4, End.ASSIGNED: 4, End.CANCELLED: 9, End.UNPAID: 8, End.PAID: 40, End.SPLIT_TOLD: 24},
    **dict.fromkeys(WRONG, 3),
}
STYLES = tuple(Style)


@dataclass(frozen=True, slots=True)
class Meant:
    """What a transaction says if it succeeds: names of its events, the verdict on its payments, and for what cannot be
    read the reason."""

    events: tuple[str, ...] = ()
    verdict: str = ""
    quarantined: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """``native``: it fails where what it builds on is gone. ``settled``: only once what was before it is final."""

    act: Callable[[], Landed]
    meant: Meant
    native: bool = False
    settled: bool = False


@dataclass(eq=False, slots=True)
class Story:
    """A job's or a node's life. ``at``: the next step. ``rests_until``: its transactions are between two forks."""

    kind: str
    name: str
    address: str
    steps: list[Step] = field(default_factory=list)
    at: int = 0
    over: bool = False
    rests_until: int = 0
    last_slot: int = 0

    @property
    def told(self) -> bool:
        return self.over or self.at == len(self.steps)


@dataclass(frozen=True, slots=True)
class Given:
    """A job that the engine has already: ``operator`` did it."""

    name: str
    asked: str
    operator: int
    end: End


class Traffic:
    """``jobs``: how many beside those ``given``. ``specs``: requirements hashes of jobs that stay pending."""

    def __init__(self, chain: DevChain, seed: int, *, jobs: int, nodes: int = 30, operators: int = 24) -> None:
        self.chain = chain
        self.network = Network(chain)
        self.chance = random.Random(f"{seed} traffic")
        self.operators = [self.network.wallet(f"operator {number}") for number in range(operators)]
        self.clients = [self.network.wallet(f"client {number}", RICH) for number in range(8)]
        self.fake = Money(chain, "WORTHLESS")
        self.meant: dict[str, Meant] = {}
        self.story_of: dict[str, Story] = {}
        self.addresses: dict[str, Story] = {}
        self.forks = self.relanded = self.dropped = 0
        self._steps: dict[Signature, int] = {}
        self._jobs, self._nodes = jobs, nodes
        self._given: list[Given] = []
        self._specs: list[str] = []
        self._waiting: Iterator[Story] = iter(())
        self._open: list[Story] = []
        self._number = 0
        self._next_fork = 12
        self._set_up()

    @property
    def owners(self) -> list[Pubkey]:
        """Everyone whose tokens move."""
        paid = [one.pubkey() for one in (*self.operators, *self.clients)]
        return [*paid, self.network.treasury, self.network.incentive, self.network.orchestrator]

    def begin(self, given: list[Given], specs: list[str]) -> None:
        self._given, self._specs = given, specs
        self._waiting = iter(self._cast())

    def slot(self) -> bool:
        """Play one slot; whether there is more to come."""
        if self.chain.slot >= self._next_fork:
            self._fork()
            self._next_fork = self.chain.slot + self.chance.randint(8, 20)
        busy: set[Story] = set()
        for _ in range(self.chance.randint(20, 44)):
            while len(self._open) < 90 and (story := next(self._waiting, None)) is not None:
                self._open.append(story)
            story = self.chance.choice(self._open) if self._open else None
            if story is None or self.chance.random() < 0.04:
                self._noise()
            if story is not None and self._may_go_on(story, busy):
                busy.add(story)
                self._go_on(story)
                if story.told:
                    self._open.remove(story)
        if self.chance.random() < 0.03:
            self.chain.skip(self.chance.randint(1, 3))
        else:
            self.chain.advance()
        return bool(self._open)

    # --- the cast -----------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        """Everything that forks must not take away."""
        money, network = self.network.money, self.network
        network.wallet("authority")
        for owner in self.owners:
            money.account(owner)
            self.fake.account(owner)
        for client in self.clients:
            self.fake.give(client.pubkey(), RICH)
        self.chain.deploy(_FOREIGN)
        self.chain.advance(self.chain.config.finalize_depth + 1)

    def _cast(self) -> list[Story]:
        chance = self.chance
        stories = [self._job(one.name, one.end, operator=one.operator, asked=one.asked) for one in self._given]
        stories += [self._job(f"spec-{number}", End.PENDING, asked=asked) for number, asked in enumerate(self._specs)]
        ends = chance.choices(list(_ENDS), list(_ENDS.values()), k=self._jobs)
        for number, end in enumerate(ends):
            # Ids are unique per client only, may be of any script, and 32 bytes long.
            twin = number % 50 < 2
            name = f"{'работа' if number % 41 == 0 and not twin else 'job'}-{number - (twin and number % 2)}"
            name += "x" * (32 - len(name.encode())) * (number % 37 == 0)
            stories.append(self._job(name, end, client=number % 8, named=not twin))
        stories += [self._node(number) for number in range(self._nodes)]
        chance.shuffle(stories)
        return stories

    def _job(
        self,
        name: str,
        end: End,
        *,
        operator: int | None = None,
        asked: str | None = None,
        client: int | None = None,
        named: bool = True,
    ) -> Story:
        """``named``: its name alone tells which it is, so that events may come without its account."""
        chance, network = self.chance, self.network
        payer = self.clients[chance.randrange(8) if client is None else client]
        key = payer.pubkey()
        address = network.job_address(key, name)
        story = Story("job", name, str(address))
        self.addresses[story.address] = story
        ours = self.operators[chance.randrange(len(self.operators)) if operator is None else operator]
        others = [one for one in self.operators if one is not ours]
        runner = chance.choice(others) if end is End.SNATCHED else ours
        price = U64_MAX if end is End.PENDING and chance.random() < 0.2 else chance.randrange(1, 10**12)
        asked = asked if asked is not None else f"{chance.getrandbits(256):064x}"
        kind, node, result = chance.randrange(6), f"node-{chance.randrange(99)}", f"{chance.getrandbits(256):064x}"

        styles = STYLES if named else tuple(style for style in STYLES if style is not Style.CPI)

        def add(act: Callable[[Style], Landed], *events: str, style: Style | None = None, verdict: str = "") -> None:
            how = style or chance.choice(styles)
            story.steps.append(Step(lambda: act(how), Meant(events, verdict), how is Style.NATIVE))

        add(
            lambda style: network.create_job(
                payer, name, job_type=kind, price=price, requirements_hash=asked, style=style
            ),
            CREATED,
        )
        if end is End.PENDING:
            return story
        cancels_late = end is End.CANCELLED and chance.random() < 0.5
        if end is not End.CANCELLED or cancels_late:
            add(
                lambda style: network.assign_job(key, name, node_id=node, operator=runner.pubkey(), style=style),
                ASSIGNED,
            )
        if end is End.CANCELLED:
            # The program itself cancels nothing that is assigned.
            add(
                lambda style: network.cancel_job(payer, name, style=style),
                CANCELLED,
                style=Style.EMIT_CPI if cancels_late else None,
            )
        if end in (End.ASSIGNED, End.CANCELLED):
            return story
        add(
            lambda style: network.submit_result(
                key, name, operator=runner, result_hash=result, logs_url=f"https://logs.example/{name}", style=style
            ),
            COMPLETED,
        )
        if chance.random() < 0.1:
            values = {"job_id": name, "operator": runner.pubkey(), "result_hash": result, "logs_url": ""}
            add(lambda style: self._twice(address, values), COMPLETED, COMPLETED, style=Style.RECORDS)
        if end is End.UNPAID:
            return story
        paid = chance.choice([one for one in others if one is not runner]) if end is End.STRANGER else runner
        if end is End.UNEVEN:
            add(
                lambda style: self._uneven(payer, name, price, paid.pubkey(), style),
                DISTRIBUTED,
                style=chance.choice(styles[1:]),
                verdict=VERDICTS[end],
            )
            return story
        how = {End.FAKE: Payment.FAKE_MINT, End.SHORT: Payment.SHORT, End.NOTHING: Payment.NO_TRANSFER}
        payment, told = how.get(end, Payment.REAL), end is End.SPLIT_TOLD
        style = chance.choice(styles[1:]) if payment in (Payment.SHORT, Payment.NO_TRANSFER) else None
        add(
            lambda style: network.settle_job(
                payer, name, operator=paid.pubkey(), payment=payment, processed=told, style=style
            ),
            *((DISTRIBUTED, PROCESSED) if told else (DISTRIBUTED,)),
            style=style,
            verdict=VERDICTS[end],
        )
        return story

    def _node(self, number: int) -> Story:
        chance, network = self.chance, self.network
        # Some owners have several nodes.
        owner, name = self.operators[number % len(self.operators)], f"rig-{number}"
        story = Story("node", name, str(network.node_address(owner.pubkey(), name)))
        self.addresses[story.address] = story

        def register() -> None:
            style, place = chance.choice(STYLES), chance.choice(PLACES)
            state = {"stake_amount": chance.randrange(10**15), "reputation_score": chance.randrange(1001)}
            given: dict[str, Any] = {} if style is Style.NATIVE else state
            story.steps.append(
                Step(
                    lambda: network.register_node(owner, name, location=place, style=style, **given),
                    Meant((REGISTERED,)),
                    style is Style.NATIVE,
                    # What a fork does to an account that is closed and set again is no node's doing.
                    settled=bool(story.steps),
                )
            )

        def updates(count: int) -> None:
            for _ in range(count):
                style, status = chance.choice(STYLES), chance.randrange(3)
                story.steps.append(_update(style, status))

        def _update(style: Style, status: int) -> Step:
            return Step(
                lambda: network.update_node_status(owner, name, status, style=style),
                Meant((STATUS,)),
                style is Style.NATIVE,
            )

        register()
        updates(chance.randrange(6))
        for _ in range(chance.randrange(3)):
            story.steps.append(
                Step(
                    lambda: network.deregister_node(owner, name, style=Style.NATIVE),
                    Meant((DEREGISTERED,)),
                    native=True,
                )
            )
            if chance.random() < 0.6:
                register()
                updates(chance.randrange(4))
            else:
                break
        return story

    # --- playing ------------------------------------------------------------------------------------------------

    def _may_go_on(self, story: Story, busy: set[Story]) -> bool:
        if story.rests_until > self.chain.slot or (story in busy and story.kind == "node"):
            # In one slot, two updates of a node are in no order that anyone outside could tell.
            return False
        step = story.steps[story.at]
        return not step.settled or story.last_slot <= self.chain.slot_at("finalized")

    def _go_on(self, story: Story) -> None:
        step = story.steps[story.at]
        landed = step.act()
        assert landed.err is None, f"{story.name}, step {story.at}: {landed.err} {landed.logs}"
        signature = str(landed.signature)
        self.meant[signature], self.story_of[signature] = step.meant, story
        self._steps[landed.signature] = story.at
        story.last_slot = landed.slot
        story.at += 1

    def _fork(self) -> None:
        """Take back some slots. Of each story all of that lands again, or none from some point on."""
        chain, chance = self.chain, self.chance
        depth = chance.randint(1, chain.config.finalize_depth - 3)
        to = chain.blocks.newest(max(chain.slot - 1 - depth, 0))
        if to < chain.slot_at("finalized"):
            return
        slots = [*chain.blocks.between(to + 1, chain.slot), chain.slot]
        lost = [landed for slot in slots if (block := chain.blocks.get(slot)) for landed in block.landed]
        by_story: dict[Story, list[Signature]] = {}
        drop: set[Signature] = set()
        for landed in lost:
            story = self.story_of.get(str(landed.signature))
            if story is not None:
                by_story.setdefault(story, []).append(landed.signature)
            elif chance.random() < 0.3:
                drop.add(landed.signature)
        cut: dict[Story, list[Signature]] = {}
        for story, signatures in by_story.items():
            gone = self._gone(story, signatures)
            if gone:
                cut[story] = gone
                drop.update(gone)
        reland: bool | int = chance.choice((True, True, True, 1, 3))
        fork = chain.fork(depth, drop=drop, reland=reland)
        self.forks += 1
        self.relanded += len(fork.reland)
        self.dropped += len(fork.dropped)
        assert set(fork.dropped) <= drop, "the chain dropped what was to land again"
        for story in by_story:
            # Past the slot that they land in now: True counts as 0 slots later.
            story.rests_until = chain.slot + (0 if reland is True else int(reland)) + 1
        for story, gone in cut.items():
            self._take_up(story, gone)

    def _gone(self, story: Story, signatures: list[Signature]) -> list[Signature]:
        """Which of a story's transactions do not land again."""
        chance = self.chance
        if story.kind == "node" and len(signatures) > 1:
            return signatures[1:]
        steps = [story.steps[self._steps[one]] for one in signatures]
        if len(steps) > 1 and steps[0].meant.events == (CREATED,) and all(one.native for one in steps[1:]):
            if chance.random() < 0.4:
                # The others land again, and fail there.
                story.over = True
                return signatures[:1]
            return []
        if chance.random() < 0.2:
            return signatures[chance.randrange(len(signatures)) :]
        return []

    def _take_up(self, story: Story, gone: list[Signature]) -> None:
        """Whoever sent what is gone sends it anew, or gives up."""
        if not story.over:
            story.at = self._steps[gone[0]]
            story.over = self.chance.random() < 0.4
        if story.over and story in self._open:
            self._open.remove(story)
        elif not story.over and story not in self._open:
            self._open.append(story)

    # --- what is odd --------------------------------------------------------------------------------------------

    def _twice(self, address: Pubkey, values: dict[str, Any]) -> Landed:
        data = self.network.event("job_receipt", COMPLETED, values)
        return self.network.emit("job_receipt", data, accounts=[_seen(address)], before=record(data))

    def _uneven(self, payer: Keypair, name: str, price: int, operator: Pubkey, style: Style) -> Landed:
        """Real tokens, as the event says, and not the network's shares."""
        network, key = self.network, payer.pubkey()
        money = network.money
        shares = {who: price * percent // 100 for who, percent in {**SHARES, "operator": 70, "treasury": 20}.items()}
        owners = {"operator": operator, "treasury": network.treasury, "incentive": network.incentive}
        moves = [transfer(money.account(key), money.account(owners[who]), key, shares[who]) for who in owners]
        values = {"job_id": name, **{f"{who}_amount": shares[who] for who in owners}}
        data = network.event("job_receipt", DISTRIBUTED, values)
        accounts = [_seen(network.job_address(key, name))]
        return network.emit("job_receipt", data, signer=payer, style=style, accounts=accounts, more=moves)

    def _noise(self) -> None:
        """Something that says nothing of a job or node, or nothing at all."""
        self._number += 1
        act, meant = self.chance.choice(_NOISE)
        landed = act(self, self._number)
        self.meant[str(landed.signature)] = meant

    def _victim(self) -> tuple[str, Pubkey]:
        story = self.chance.choice(self._open or list(self.addresses.values()))
        return story.name, Pubkey.from_string(story.address)

    def _lie(self) -> bytes:
        """An event that would cancel somebody's job."""
        name, _ = self._victim()
        client = self.chance.choice(self.clients).pubkey()
        return self.network.event("job_receipt", CANCELLED, {"job_id": name, "client": client})

    def _send(self, *steps: Instruction) -> Landed:
        signer = self.network.wallet("authority")
        return self.chain.send(self.chain.sign([*steps, _memo(self._number)], [signer]), verify=False)

    def _own_text(self, number: int) -> Landed:
        """Our program says in words what looks like an event."""
        text = f"Program data: {b64encode(self._lie()).decode()}".encode()
        return self._send(Instruction(self.network.programs.job_receipt, record(text, Op.TEXT), []))

    def _foreign(self, number: int) -> Landed:
        """Another program emits an event of ours, and names us."""
        return self._send(Instruction(_FOREIGN, record(self._lie()), [_seen(self.network.programs.job_receipt)]))

    def _foreign_frame(self, number: int) -> Landed:
        """Another program says that ours begins, emits, and says that ours ends."""
        ours = self.network.programs.job_receipt
        data = record(f"Program {ours} invoke [2]".encode(), Op.TEXT) + record(self._lie())
        return self._send(Instruction(_FOREIGN, data + record(f"Program {ours} success".encode(), Op.TEXT), []))

    def _forged_cpi(self, number: int) -> Landed:
        """Another program calls ours as only our own program may."""
        ours = self.network.programs.job_receipt
        call = record(bytes(ours) + EVENT_CPI_TAG + self._lie(), Op.INVOKE)
        return self._send(Instruction(_FOREIGN, call, [_seen(ours)]))

    def _forged_top(self, number: int) -> Landed:
        """The same without another program."""
        return self._send(Instruction(self.network.programs.job_receipt, EVENT_CPI_TAG + self._lie(), []))

    def _failing(self, number: int) -> Landed:
        """Our program emits and fails."""
        data = record(self._lie()) + record((7).to_bytes(4, "little"), Op.FAIL)
        return self._send(Instruction(self.network.programs.job_receipt, data, []))

    def _mention(self, number: int) -> Landed:
        """Somebody names all of our programs and calls none."""
        keys = (self.network.programs.of(name) for name in ("node_registry", "job_receipt", "payment_splitter"))
        return self._send(Instruction(_FOREIGN, b"", [_seen(key) for key in keys]))

    def _versioned(self, number: int) -> Landed:
        """A transaction of version 0 that says something of the network as a whole."""
        data = self.network.event(
            "payment_splitter", "TreasuryWithdrawalEvent", {"amount": U64_MAX - number, "destination": _FOREIGN}
        )
        signer = self.network.wallet("authority")
        step = Instruction(self.network.programs.payment_splitter, record(data), [])
        blockhash: Hash = self.chain.latest_blockhash()[0]
        message = MessageV0.try_compile(signer.pubkey(), [step, _memo(number)], [], blockhash)
        return self.chain.send(VersionedTransaction(message, [signer]), verify=False)

    def _config(self, number: int) -> Landed:
        shares = {f"{who}_share": percent for who, percent in SHARES.items()}
        data = self.network.event("payment_splitter", "ConfigUpdatedEvent", shares)
        return self.network.emit("payment_splitter", data, style=self.chance.choice(STYLES[1:]))

    def _homeless(self, number: int) -> Landed:
        """An event of a job that nobody has created."""
        values = {"job_id": f"nobody's-{number}", "node_id": "n", "node_operator": _FOREIGN}
        return self.network.emit("job_receipt", self.network.event("job_receipt", ASSIGNED, values))

    def _unknown(self, number: int) -> Landed:
        return self.network.emit("job_receipt", b"\xee" * 8 + number.to_bytes(4, "little"))

    def _torn(self, number: int) -> Landed:
        return self.network.emit("node_registry", self._registration(f"torn-{number}")[:-1])

    def _padded(self, number: int) -> Landed:
        return self.network.emit("node_registry", self._registration(f"padded-{number}") + b"\0")

    def _nul(self, number: int) -> Landed:
        return self.network.emit("node_registry", self._registration(f"nul-\0-{number}"))

    def _over_long(self, number: int) -> Landed:
        return self.network.emit("node_registry", self._registration("long" * 17))

    def _registration(self, name: str) -> bytes:
        owner = self.operators[0].pubkey()
        return self.network.event("node_registry", REGISTERED, {"node_id": name, "owner": owner})


_FOREIGN = keypair("somebody else's program").pubkey()
_COMPUTE_BUDGET = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
_NOISE: list[tuple[Callable[[Traffic, int], Landed], Meant]] = [
    *((act, Meant()) for act in (Traffic._own_text, Traffic._foreign, Traffic._foreign_frame, Traffic._forged_cpi)),
    *((act, Meant()) for act in (Traffic._forged_top, Traffic._failing, Traffic._mention)),
    (Traffic._versioned, Meant(("TreasuryWithdrawalEvent",))),
    (Traffic._config, Meant(("ConfigUpdatedEvent",))),
    (Traffic._homeless, Meant((ASSIGNED,))),
    (Traffic._unknown, Meant(quarantined="unknown_discriminator")),
    (Traffic._torn, Meant(quarantined="short")),
    (Traffic._padded, Meant(quarantined="trailing_bytes")),
    (Traffic._nul, Meant(quarantined="nul_in_text")),
    (Traffic._over_long, Meant(quarantined="over_long")),
]


def _seen(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, False, False)


def _memo(number: int) -> Instruction:
    """Makes equal transactions different ones."""
    return Instruction(_COMPUTE_BUDGET, b"\x02" + (200_000 + number).to_bytes(4, "little"), [])
