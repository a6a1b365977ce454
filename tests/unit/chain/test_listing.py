"""What is new in a listing, where the next page begins, and what of it is kept in mind."""

from __future__ import annotations

from app.chain.listing import Known, Listing, hole
from app.chain.rpc.records import SignatureInfo


def entry(signature: str, slot: int, *, failed: bool = False) -> SignatureInfo:
    return SignatureInfo(signature, slot, failed, None)


BAD = SignatureInfo("", -1, False, None, "signature")


def listing(floor: int = 0, cursor_slot: int = 0, overlap: int = 10) -> Listing:
    return Listing(floor, cursor_slot, overlap)


def test_a_slot_that_the_page_may_have_cut_is_listed_again_as_a_whole() -> None:
    one = listing()
    one.add([entry("d", 7), entry("c", 7), entry("b", 5)], 3, Known())
    assert (one.before, one.oldest, one.complete) == ("c", 7, False)
    assert one.entries == [("d", 7), ("c", 7)]
    # The rest of the slot came in another order.
    one.add([entry("a", 5), entry("b", 5)], 3, Known())
    assert one.entries == [("d", 7), ("c", 7), ("a", 5), ("b", 5)]
    assert (one.newest, one.before) == (("d", 7), "b")
    one.add([], 3, Known())
    assert one.complete


def test_a_page_of_one_slot_goes_on_from_its_last_entry() -> None:
    one = listing()
    one.add([entry("d", 9), entry("c", 7), entry("b", 7)], 3, Known())
    assert one.before == "d"
    one.add([entry("c", 7), entry("b", 7), entry("a", 7)], 3, Known())
    assert one.before == "a"
    assert [signature for signature, _ in one.entries] == ["d", "c", "b", "a"]


def test_it_ends_below_the_floor_and_shows_that_nothing_is_missing() -> None:
    one = listing(floor=5, cursor_slot=8)
    one.add([entry("c", 9)], 3, Known())
    assert not one.reached
    one.add([entry("b", 6), entry("a", 4), entry("never", 3)], 3, Known())
    assert (one.complete, one.reached) == (True, True)
    assert one.entries == [("c", 9), ("b", 6)]


def test_what_is_known_in_its_slot_is_left_out_and_what_failed_too() -> None:
    known = Known()
    known.remember({"a": 5, "b": 6}, 0)
    one = listing()
    one.add([entry("c", 9, failed=True), entry("b", 8), entry("a", 5)], 100, known)
    assert one.entries == [("b", 8)]
    assert (one.failed, one.newest) == ({"c": 9}, ("c", 9))


def test_a_flood_of_failures_is_not_kept() -> None:
    one = listing(overlap=10)
    one.add([entry(f"s{slot}", slot, failed=True) for slot in range(100, 50, -1)], 1000, Known())
    assert list(one.failed.values()) == list(range(100, 87, -1))


def test_an_entry_without_a_slot_is_read_and_no_landmark() -> None:
    one = listing(floor=5, cursor_slot=8)
    one.add([entry("b", -1), entry("a", 9)], 3, Known())
    assert one.entries == [("b", 8), ("a", 9)]
    assert (one.newest, one.reached, one.complete) == (("a", 9), False, False)


def test_a_hole_is_told_by_what_is_before_it_and_mended_by_what_comes_there() -> None:
    known = Known()
    one = listing()
    one.add([BAD, entry("b" * 88, 9), BAD, entry("a", 8)], 100, known)
    assert one.malformed == {"after the tip": "signature", hole("b" * 88): "signature"}
    assert all(len(each) <= 88 for each in one.malformed)
    known.holes = set(one.malformed)
    again = listing()
    again.add([entry("c", 9), entry("b" * 88, 9), BAD, entry("a", 8)], 100, known)
    assert (again.mended, list(again.malformed)) == (["after the tip"], [hole("b" * 88)])


def test_an_anchor_is_known_and_has_a_known_one_above_it() -> None:
    known = Known()
    known.remember({"a": 1, "b": 2, "c": 3, "d": 9}, 2)
    assert known.anchor == ""
    known.remember({"e": 10}, 4)
    assert known.anchor == "b"
    assert "a" not in known and "c" not in known
    assert known.has("d", 9) and not known.has("d", 8)
    known.forget(["d"])
    assert "d" not in known
    known.clear()
    assert known.anchor == ""
