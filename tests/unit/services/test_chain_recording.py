"""What a batch means, given what is stored: nothing twice, nothing lost, and the final word stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.chain.model import Batch, ChainEvent, EventKey, IndexedEvent, Quarantined
from app.core.chain import Commitment
from app.services.chain.recording import sort
from app.store.chain.events import EventRow, KnownEvent

CONFIRMED, FINALIZED, ORPHANED = Commitment
Stored = dict[tuple[str, str, int, int, int], KnownEvent]


def event(
    number: int = 1,
    slot: int = 5,
    commitment: Commitment = CONFIRMED,
    *,
    ordinal: int = 0,
    address: str | None = "A",
    name: str = "JobAssignedEvent",
    accounts: tuple[str, ...] = (),
    **data: Any,
) -> IndexedEvent:
    key = EventKey(f"s{number}", "P", 0, -1, ordinal)
    source = ChainEvent(key, name, {"job_id": "j", **data}, accounts)
    return IndexedEvent(source, slot, 1_700_000_000, commitment, address, "j")


def batch(*events: IndexedEvent, **slots: int) -> Batch:
    return Batch({**{one.event.key.signature: one.slot for one in events}, **slots}, list(events))


def keep(stored: Stored, given_: Batch) -> int:
    """Do to ``stored`` what is to be done about the batch, as the tables would have it; how many landed."""
    found = sort(given_, stored.values())
    rows: list[EventRow] = [*found.new, *found.again]
    stored.update({row.key: KnownEvent(row.key, row.slot, row.commitment, row.name, row.address) for row in rows})
    stored.update({one.key: one for one in found.gone})
    assert not {one.key for one in found.new} & {one.key for one in found.again}
    return found.landed


def test_repeating_changes_nothing() -> None:
    stored: Stored = {}
    once = batch(event(1), event(1, ordinal=1), event(2, 6))
    assert keep(stored, batch(*once.events, once.events[0])) == 3
    before = dict(stored)
    assert keep(stored, once) == 0
    assert stored == before


def test_another_slot_is_another_landing_without_what_it_left_out() -> None:
    stored: Stored = {}
    keep(stored, batch(event(1), event(1, ordinal=1)))
    assert keep(stored, batch(event(1, 9))) == 1
    assert [(one.slot, one.commitment) for one in stored.values()] == [(9, CONFIRMED), (5, ORPHANED)]
    # It landed again, and failed: nothing of it stands.
    assert keep(stored, batch(s1=12)) == 0
    assert {one.commitment for one in stored.values()} == {ORPHANED}
    assert keep(stored, batch(event(1, 12))) == 1
    assert stored["s1", "P", 0, -1, 0].commitment is CONFIRMED


def test_what_could_not_be_read_says_nothing_of_what_was() -> None:
    stored: Stored = {}
    keep(stored, batch(event(1)))
    unread = batch(s1=9)
    unread.quarantined = [(Quarantined(EventKey("s1", "P", -1, -1, 0), "version_unsupported"), 9)]
    found = sort(unread, stored.values())
    assert (found.gone, [entry.reason for entry in found.quarantined]) == ([], ["version_unsupported"])


def test_final_stays_final() -> None:
    stored: Stored = {}
    keep(stored, batch(event(1, 5)))
    keep(stored, batch(event(1, 5, FINALIZED)))
    for late in (batch(event(1, 5)), batch(event(1, 3)), batch(s1=2)):
        assert keep(stored, late) == 0
        assert stored["s1", "P", 0, -1, 0] == KnownEvent(("s1", "P", 0, -1, 0), 5, FINALIZED, "JobAssignedEvent", "A")


def test_an_address_found_later_is_kept() -> None:
    stored: Stored = {}
    keep(stored, batch(event(1, address=None), event(2, 5, FINALIZED, address=None)))
    keep(stored, batch(event(1), event(2)))
    assert {(one.address, one.commitment) for one in stored.values()} == {("A", CONFIRMED), ("A", FINALIZED)}
    keep(stored, batch(event(1, 9, address=None)))
    assert {one.address for one in stored.values()} == {"A"}


def test_what_is_created_in_the_same_batch_is_found_among_the_accounts() -> None:
    created = event(1, name="JobCreatedEvent", address="A")
    mine, theirs = (event(n, address=None, accounts=("X", home)) for n, home in ((2, "A"), (3, "B")))
    found = sort(batch(mine, theirs, created), ())
    assert [row.address for row in found.new] == ["A", None, "A"]


def test_what_no_row_can_hold_is_quarantined() -> None:
    bad = [
        event(1, note="\0"),
        event(2, note={"deep": ["\0"]}),
        event(3, note=object()),
        replace(event(4), subject="x" * 33),
    ]
    found = sort(batch(*bad, event(5, note="\\u0000", amount=2**70)), ())
    assert [entry.key[0] for entry in found.quarantined] == ["s1", "s2", "s3", "s4"]
    assert {entry.reason for entry in found.quarantined} == {"unstorable"}
    assert [row.key[0] for row in found.new] == ["s5"]
    assert all(entry.raw for entry in found.quarantined)


def test_times_of_no_calendar() -> None:
    odd = [replace(event(n), block_time=time) for n, time in enumerate((None, 2**62, -(2**62), 0))]
    assert [row.block_time is None for row in sort(batch(*odd), ()).new] == [True, True, True, False]


@given(
    st.lists(
        st.lists(
            st.builds(
                lambda number, slot, final: event(number, slot + number, FINALIZED if final else CONFIRMED),
                st.integers(1, 4), st.integers(1, 3), st.booleans(),
            ),
            max_size=4, unique_by=lambda one: one.event.key,
        ),
        max_size=6,
    )
)  # fmt: skip
def test_any_batches_in_any_order_leave_each_event_once(batches: list[list[IndexedEvent]]) -> None:
    stored: Stored = {}
    final: dict[str, int] = {}
    for events in batches:
        for one in events:
            if one.commitment is FINALIZED:
                final.setdefault(one.event.key.signature, one.slot)
        keep(stored, batch(*events))
        again = dict(stored)
        assert keep(stored, batch(*events)) == 0
        assert stored == again
    for key, kept in stored.items():
        assert (kept.commitment is FINALIZED) == (key[0] in final)
        assert kept.slot == final.get(key[0], kept.slot)
