"""Nodes behind one address may each list a slot in an order of their own, and a listing ends all the same."""

from __future__ import annotations

import itertools

from app.chain.listing import Known, Listing
from app.chain.rpc.records import SignatureInfo

LIMIT = 100


def behind(before: str, order: str) -> list[SignatureInfo]:
    """What a node lists behind ``before``, whose whole history is one slot in this order."""
    return [SignatureInfo(one, 7, False, None) for one in order[order.find(before) + 1 if before else 0 :]]


def test_a_listing_ends_where_nodes_disagree_on_what_comes_last() -> None:
    one = Listing(0, 0, 10)
    for asked, order in enumerate(itertools.cycle(["abc", "cba", "bca"])):
        one.add(behind(one.before, order), LIMIT, Known())
        if one.complete:
            break
        assert asked < 10
    assert sorted(signature for signature, _ in one.entries) == ["a", "b", "c"]


def test_what_was_listed_before_is_nothing_new_in_the_rest_either() -> None:
    one = Listing(0, 0, 10)
    one.add(behind("", "abc"), LIMIT, Known())
    rest = one.rest()
    rest.add(behind("c", "cba"), LIMIT, Known())
    assert (rest.complete, rest.entries) == (True, [])


def test_an_older_slot_behind_a_known_entry_is_news() -> None:
    one = Listing(0, 0, 10)
    one.add(behind("", "ab"), LIMIT, Known())
    one.add([*behind("b", "ba"), SignatureInfo("older", 5, False, None)], LIMIT, Known())
    assert not one.complete
    assert one.entries == [("a", 7), ("b", 7), ("older", 5)]
