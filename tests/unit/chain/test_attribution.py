"""app.chain.attribution, and what Decoder makes of it: who emitted what, and what is not believed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chain.attribution import EVENT_TAG
from app.chain.decode import Decoder
from app.chain.model import ChainEvent, EventKey, Instruction, Reading, Transaction
from tests.support.invocations import (
    BUDGET,
    ED25519,
    FOREIGN,
    PROGRAMS,
    RECEIPT,
    REGISTRY,
    SIGNATURE,
    SYSTEM,
    Call,
    Data,
    Line,
    call,
    created,
    emit_cpi,
    event,
    transaction,
)

DECODER = PROGRAMS.decoder


def places(reading: Reading) -> list[tuple[str, int, int, int]]:
    """Of its events: what the payload says, and outer, inner, ordinal."""
    return [(one.data.get("job_id") or one.data["node_id"], *one.key[2:]) for one in reading.events]


def refused(reading: Reading) -> list[tuple[str, int, int, int]]:
    return [(one.reason, *one.key[2:]) for one in reading.quarantined]


def mismatch(tx: Transaction) -> str:
    """Why nothing is believed of ``tx``."""
    reading = DECODER.read(tx)
    assert (reading.events, reading.truncated, reading.unread) == ([], False, [])
    (one,) = reading.quarantined
    assert (one.reason, one.key) == ("attribution_mismatch", EventKey(SIGNATURE, RECEIPT, -1, -1, 0))
    assert one.raw == "\n".join(tx.logs or ()).encode()
    return one.detail


def test_a_whole_event() -> None:
    tx = transaction(call(BUDGET), call(RECEIPT, Data(created("j")), accounts=("job", "client"), data=b"x"))
    (one,) = DECODER.read(tx).events
    assert one == ChainEvent(
        EventKey(SIGNATURE, RECEIPT, 1, -1, 0),
        "JobCreatedEvent",
        {"job_id": "j", "client": one.data["client"], "job_type": 0, "price": 5, "timestamp": 1_700_000_000},
        ("job", "client"),
    )


def test_every_invocation_has_its_own_count() -> None:
    tx = transaction(
        call(RECEIPT, Data(created("a")), Data(created("a")), call(SYSTEM), Data(created("b"))),
        call(
            FOREIGN,
            call(RECEIPT, Data(created("c")), call(RECEIPT, Data(created("d"))), Data(created("e"))),
            Data(created("spoofed")),
            call(RECEIPT, Data(created("f"))),
        ),
    )
    assert places(DECODER.read(tx)) == [
        ("a", 0, -1, 0),
        ("a", 0, -1, 1),
        ("b", 0, -1, 2),
        ("c", 1, 0, 0),
        ("d", 1, 1, 0),
        ("e", 1, 0, 1),
        ("f", 1, 2, 0),
    ]


def test_what_cannot_be_decoded_counts_too() -> None:
    lines: list[Data | Line] = [
        Data(created("a")),
        Line("Program data: @@@"),
        Data(b"unknown thing"),
        Line("Program data:"),
    ]
    reading = DECODER.read(transaction(call(RECEIPT, *lines, Data(created("b")))))
    assert places(reading) == [("a", 0, -1, 0), ("b", 0, -1, 4)]
    assert refused(reading) == [
        ("not_anchor_line", 0, -1, 1),
        ("unknown_discriminator", 0, -1, 2),
        ("not_anchor_line", 0, -1, 3),
    ]
    assert [one.raw for one in reading.quarantined] == [b"@@@", b"unknown thing", b""]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("AQ== AQ==", "not_anchor_line"),
        ("AQ", "not_anchor_line"),
        ("AR==\n", "not_anchor_line"),
        ("café", "not_anchor_line"),
        ("\ud800", "not_anchor_line"),
        ("AQ==", "short"),
    ],
)
def test_lines_that_are_no_event(payload: str, reason: str) -> None:
    reading = DECODER.read(transaction(call(RECEIPT, Line(f"Program data: {payload}"))))
    assert refused(reading) == [(reason, 0, -1, 0)]


def test_failed_transactions_say_nothing() -> None:
    tx = transaction(call(RECEIPT, Data(created()), Line("Program data: @@@")), error={"InstructionError": [0, 1]})
    assert DECODER.read(tx) == Reading()
    assert DECODER.logs_only(tx.logs, [RECEIPT], tx.error) == Reading()


def test_foreign_transactions_say_nothing() -> None:
    spoofing = transaction(call(FOREIGN, Data(created()), emit_cpi(FOREIGN, created())), call(SYSTEM))
    assert DECODER.read(spoofing) == Reading()
    mentioning = replace(spoofing, accounts=(*spoofing.accounts, RECEIPT))
    assert DECODER.read(mentioning) == Reading()
    # Not even what they get wrong is ours.
    assert DECODER.read(replace(mentioning, logs=("Program data: AQ==", "Log truncated"))) == Reading()


LIES = [
    f"Program log: Program {RECEIPT} invoke [1]",
    f"Program log: Program {FOREIGN} success",
    f"Program log: a\nProgram {FOREIGN} success\nProgram {RECEIPT} invoke [1]\nProgram data: {Data(created()).line}",
    f"Program return: {FOREIGN} AQ==",
    f"Program {RECEIPT} invoke [2] ",
    f" Program {RECEIPT} invoke [2]",
    f"Program  {RECEIPT} invoke [2]",
    f"program {RECEIPT} invoke [2]",
    f"Program {RECEIPT} invoke [+2]",
    f"Program {RECEIPT} invoke [02]",
    f"Program {RECEIPT} invoke [٢]",
    f"Program {RECEIPT} invoke []",
    f"Program {FOREIGN} success!",
    f"Program {FOREIGN} success\n",
    "Program consumption: 12 units remaining",
    "Program log: Log truncated",
    "Log truncated ",
    "Upgraded program x",
    "",
]


@pytest.mark.parametrize("lie", LIES)
def test_lookalikes_are_not_the_runtime_speaking(lie: str) -> None:
    tx = transaction(call(FOREIGN, Line(lie), Data(created("spoofed")), call(RECEIPT, Data(created("true")))))
    reading = DECODER.read(tx)
    assert places(reading) == [("true", 0, 0, 0)]
    assert (reading.quarantined, reading.truncated) == ([], False)


def test_instructions_that_leave_no_line_are_passed_over() -> None:
    silent = Call(ED25519, logged=False)
    tx = transaction(
        silent,
        Call(SYSTEM, logged=False),
        call(RECEIPT, Call(SYSTEM, logged=False), call(FOREIGN, call(RECEIPT, Data(created("a")))), Data(created("b"))),
        silent,
        call(RECEIPT, Data(created("c")), Call(SYSTEM, logged=False)),
        silent,
    )
    reading = DECODER.read(tx)
    assert places(reading) == [("a", 2, 2, 0), ("b", 2, -1, 0), ("c", 4, -1, 0)]
    assert DECODER.logs_only(tx.logs, [one.program for one in tx.instructions]).events != []


def test_events_by_emit_cpi() -> None:
    tx = transaction(
        call(
            RECEIPT,
            Data(created("line")),
            replace(emit_cpi(RECEIPT, created("cpi")), accounts=("authority",)),
            emit_cpi(RECEIPT, b"no such event"),
            call(FOREIGN, call(RECEIPT, emit_cpi(RECEIPT, created("deep")))),
        )
    )
    reading = DECODER.read(tx)
    assert places(reading) == [("line", 0, -1, 0), ("cpi", 0, 0, 0), ("deep", 0, 4, 0)]
    assert reading.events[1].accounts == ("authority",)
    assert refused(reading) == [("unknown_discriminator", 0, 1, 0)]


def test_only_a_program_itself_emits_by_cpi() -> None:
    tagged = EVENT_TAG + created("spoofed")
    tx = transaction(
        Call(RECEIPT, data=tagged),
        call(FOREIGN, Call(RECEIPT, data=tagged), Call(FOREIGN, data=tagged)),
        call(REGISTRY, Call(RECEIPT, data=tagged)),
        call(RECEIPT, call(FOREIGN, Call(RECEIPT, data=tagged))),
    )
    assert DECODER.read(tx) == Reading()
    for cut in (("Log truncated",), None, ()):
        reading = DECODER.read(replace(tx, logs=cut))
        assert (reading.events, reading.quarantined, reading.truncated) == ([], [], True)
        assert [place[:2] for place in reading.unread] == [(2, -1), (3, -1)]


def test_an_event_by_cpi_that_also_logs_has_keys_of_its_own() -> None:
    both = Call(RECEIPT, (Data(created("line")),), EVENT_TAG + created("cpi"))
    reading = DECODER.read(transaction(call(RECEIPT, both)))
    assert places(reading) == [("cpi", 0, 0, 0), ("line", 0, 0, 1)]


def test_heights_are_not_needed_where_lines_tell() -> None:
    calls = call(FOREIGN, call(RECEIPT, emit_cpi(RECEIPT, created("a")), Data(created("b"))))
    assert places(DECODER.read(transaction(calls, heights=False))) == [("a", 0, 1, 0), ("b", 0, 0, 0)]
    hidden = DECODER.read(replace(transaction(calls, heights=False), logs=None))
    assert (places(hidden), [place[:2] for place in hidden.unread]) == ([], [(0, 0), (0, 1)])


def test_nothing_is_believed_behind_a_truncation() -> None:
    tx = transaction(
        call(RECEIPT, Data(created("a")), call(FOREIGN), Data(created("lost")), emit_cpi(RECEIPT, created("cpi"))),
        call(RECEIPT, Data(created("lost too"))),
        call(FOREIGN, call(RECEIPT, Data(created("lost three")))),
    )
    assert tx.logs is not None
    cut = tx.logs.index(f"Program {FOREIGN} invoke [2]")
    reading = DECODER.read(replace(tx, logs=(*tx.logs[:cut], "Log truncated", *tx.logs[cut + 3 :])))
    # What is an instruction needs no line.
    assert places(reading) == [("a", 0, -1, 0), ("cpi", 0, 1, 0)]
    assert reading.truncated and reading.quarantined == []
    assert [(outer, inner, one.program) for outer, inner, one in reading.unread] == [
        (0, -1, RECEIPT),
        (1, -1, RECEIPT),
        (2, 0, RECEIPT),
    ]


@pytest.mark.parametrize("logs", [None, ()])
def test_without_logs_everything_is_unread(logs: Any) -> None:
    tx = transaction(call(BUDGET), call(FOREIGN, call(RECEIPT, emit_cpi(RECEIPT, created("a")), Data(created("b")))))
    reading = DECODER.read(replace(tx, logs=logs))
    assert (places(reading), reading.truncated) == ([("a", 1, 1, 0)], True)
    assert [place[:2] for place in reading.unread] == [(1, 0)]


def test_a_node_that_keeps_nothing_cannot_say_who_was_called() -> None:
    tx = replace(transaction(call(FOREIGN)), logs=None, accounts=(FOREIGN, RECEIPT))
    reading = DECODER.read(tx)
    assert refused(reading) == [("logs_missing", -1, -1, 0)]
    assert reading.truncated
    assert DECODER.read(replace(tx, accounts=(FOREIGN,))) == Reading()


def test_what_an_inner_call_did_before_it_failed_was_rolled_back() -> None:
    tx = transaction(
        call(
            RECEIPT,
            Data(created("a")),
            call(RECEIPT, Data(created("undone")), call(REGISTRY, Data(registered("undone"))), failed=True),
            call(FOREIGN, call(RECEIPT, Data(created("undone"))), failed=True),
            replace(emit_cpi(RECEIPT, created("undone")), failed=True),
            Data(created("b")),
        )
    )
    assert places(DECODER.read(tx)) == [("a", 0, -1, 0), ("b", 0, -1, 1)]


def registered(node_id: str) -> bytes:
    return event(REGISTRY, "NodeRegistered", node_id=node_id, owner=FOREIGN, timestamp=1)


GOOD = transaction(call(BUDGET), call(RECEIPT, call(FOREIGN, call(SYSTEM)), Data(created())), call(FOREIGN))


def logs_without(text: str) -> tuple[str, ...]:
    return tuple(line for line in GOOD.logs or () if text not in line)


@pytest.mark.parametrize(
    ("tx", "says"),
    [
        (replace(GOOD, logs=logs_without(f"{FOREIGN} invoke [2]")), "depth 3 behind 1"),
        (replace(GOOD, logs=logs_without(f"{FOREIGN} invoke [1]")), "is not the one that runs"),
        (replace(GOOD, logs=logs_without(f"{RECEIPT} success")), "depth 1 behind 1"),
        (replace(GOOD, logs=logs_without(FOREIGN)), "depth 3 behind 1"),
        (replace(GOOD, logs=(GOOD.logs or ())[:-1]), "end inside an invocation"),
        (replace(GOOD, logs=(GOOD.logs or ())[:-3]), f"{FOREIGN} was invoked and is not in the logs"),
        (replace(GOOD, logs=("Program data: AQ==", *(GOOD.logs or ()))), "outside every invocation"),
        (replace(GOOD, logs=(*(GOOD.logs or ()), f"Program {FOREIGN} invoke [1]")), "nothing more"),
        (replace(GOOD, logs=(*(GOOD.logs or ()), f"Program {FOREIGN} success")), "is not the one that runs"),
        (replace(GOOD, inner={}), "nothing more"),
        (replace(GOOD, inner={2: GOOD.inner[1]}), "nothing more"),
        (replace(GOOD, inner={1: GOOD.inner[1][::-1]}), f"has {SYSTEM}|listed at 3|nothing more"),
        (
            replace(GOOD, inner={1: (*GOOD.inner[1], Instruction(FOREIGN, (), b"", 2))}),
            f"{FOREIGN} was invoked and is not",
        ),
        (replace(GOOD, inner={1: (replace(GOOD.inner[1][0], height=3), GOOD.inner[1][1])}), "listed at 3"),
        (replace(GOOD, instructions=GOOD.instructions[1:]), f"the transaction has {RECEIPT}|nothing more"),
        (replace(GOOD, instructions=GOOD.instructions[:2]), "nothing more"),
        (transaction(call(RECEIPT, Data(created()), failed=True)), "fail in a transaction that succeeded"),
    ],
)
def test_where_logs_and_instructions_disagree_nothing_is_believed(tx: Transaction, says: str) -> None:
    assert any(part in mismatch(tx) for part in says.split("|"))


def test_a_disagreement_is_each_program_s_that_takes_part() -> None:
    tx = transaction(call(FOREIGN, call(RECEIPT, Data(created())), call(REGISTRY, Data(registered("n")))))
    # As of a node that keeps logs and no inner instructions: who is ours is in the lines alone.
    reading = DECODER.read(replace(tx, inner={}))
    assert [one.key.program for one in reading.quarantined] == sorted([RECEIPT, REGISTRY])
    assert {one.reason for one in reading.quarantined} == {"attribution_mismatch"}


def test_logs_alone() -> None:
    tx = transaction(call(SYSTEM), call(FOREIGN, call(RECEIPT, Data(created("a")))), call(RECEIPT, Data(created("b"))))
    assert tx.logs is not None
    top = [one.program for one in tx.instructions]
    assert places(DECODER.logs_only(tx.logs, top, signature="s")) == [("a", 1, 0, 0), ("b", 2, -1, 0)]
    assert places(DECODER.logs_only(tx.logs)) == [("a", 1, 0, 0), ("b", 2, -1, 0)]
    # Without the instructions nobody knows where they must end.
    assert places(DECODER.logs_only(tx.logs[:-1])) == [("a", 1, 0, 0), ("b", 2, -1, 0)]
    for logs, given_top in ((tx.logs[:-1], top), (tx.logs, top[1:]), (tx.logs[1:], None)):
        assert [one.reason for one in DECODER.logs_only(logs, given_top).quarantined] == ["attribution_mismatch"]
    assert DECODER.logs_only(None) == DECODER.logs_only(None, [SYSTEM]) == Reading()
    assert DECODER.logs_only(["Log truncated"], [FOREIGN]) == Reading()
    assert DECODER.logs_only(None, [RECEIPT]).unread == [(0, -1, Instruction(RECEIPT, (), b""))]


def test_a_decoder_without_programs_finds_nothing() -> None:
    assert Decoder([]).read(GOOD) == Reading()


@dataclass
class Truth:
    """What a tree of calls really emits, told by walking the tree."""

    events: list[tuple[str, int, int, int]] = field(default_factory=list)
    inner: int = -1

    def of(self, outer: int, one: Call, caller: str) -> None:
        here, count = self.inner, 0
        if one.data and caller == one.program == RECEIPT:
            self.events.append((str(one.accounts[0]), outer, here, 0))
            count = 1
        for step in one.steps:
            if isinstance(step, Call):
                self.inner += 1
                self.of(outer, step, one.program)
            elif isinstance(step, Data):
                if one.program == RECEIPT:
                    self.events.append((step.payload[12:16].decode(), outer, here, count))
                count += 1


IDS = st.integers(1000, 9999).map(str)
STEPS = st.one_of(
    IDS.map(lambda one: Data(created(one))),
    st.sampled_from(LIES).map(Line),
    IDS.map(lambda one: replace(emit_cpi(RECEIPT, created(one)), accounts=(one,))),
)
TREES = st.recursive(
    st.builds(Call, st.sampled_from([FOREIGN, RECEIPT, SYSTEM]), st.lists(STEPS, max_size=3).map(tuple)),
    lambda inner: st.builds(Call, st.sampled_from([FOREIGN, RECEIPT]), st.lists(STEPS | inner, max_size=4).map(tuple)),
    max_leaves=10,
)


@given(st.lists(TREES, min_size=1, max_size=3), st.booleans(), st.data())
def test_any_tree_of_calls(calls: list[Call], heights: bool, data: st.DataObject) -> None:
    truth = Truth()
    for outer, one in enumerate(calls):
        truth.inner = -1
        truth.of(outer, one, "")
    tx = transaction(*calls, heights=heights)
    reading = DECODER.read(tx)
    assert places(reading) == truth.events
    assert (reading.quarantined, reading.truncated) == ([], False)
    # Cut anywhere, it gives no event that is not there, and knows of every invocation that may hold more.
    assert tx.logs is not None
    at = data.draw(st.integers(0, len(tx.logs)))
    cut = DECODER.read(replace(tx, logs=(*tx.logs[:at], "Log truncated")))
    assert set(places(cut)) <= set(truth.events)
    unread = {place[:2] for place in cut.unread}
    assert {one[1:3] for one in set(truth.events) - set(places(cut))} <= unread


LINES = st.one_of(
    st.sampled_from(LIES),
    st.sampled_from([Data(created()).line, "Log truncated", f"Program {RECEIPT} failed: x", "Program data: @"]),
    st.builds("Program {} invoke [{}]".format, st.sampled_from([RECEIPT, FOREIGN, SYSTEM]), st.integers(0, 4)),
    st.builds("Program {} success".format, st.sampled_from([RECEIPT, FOREIGN, SYSTEM])),
    st.text(max_size=12),
)


@given(st.lists(LINES, max_size=12), st.none() | st.lists(st.sampled_from([RECEIPT, FOREIGN, SYSTEM]), max_size=3))
def test_any_lines_at_all(logs: list[str], top: list[str] | None) -> None:
    def sound(reading: Reading) -> None:
        keys: list[Any] = [one.key for one in reading.events] + [one.key for one in reading.quarantined]
        assert len(keys) == len(set(keys))
        assert all(one.reason for one in reading.quarantined)

    sound(DECODER.logs_only(logs, top))
    sound(DECODER.read(replace(GOOD, logs=tuple(logs))))
