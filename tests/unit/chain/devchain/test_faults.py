from __future__ import annotations

import pytest

from app.chain.devchain.faults import Faults, Kind


def struck(faults: Faults, kind: Kind, times: int, **call: str) -> list[bool]:
    return [faults.strike(kind, **call) is not None for _ in range(times)]


def test_a_fault_strikes_after_its_skip_for_its_count() -> None:
    faults = Faults()
    faults.add("null_transaction", skip=2, count=3)
    assert struck(faults, Kind.NULL_TRANSACTION, 7) == [False, False, True, True, True, False, False]
    assert faults.listed()[0]["left"] == 0


def test_probability_is_the_same_for_the_same_seed() -> None:
    def run(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add("drop", probability=0.3)
        return struck(faults, Kind.DROP, 200)

    assert run(1) == run(1) != run(2)
    assert 30 < sum(run(1)) < 90


def test_one_fault_does_not_disturb_another() -> None:
    alone, both = Faults(7), Faults(7)
    alone.add("drop", probability=0.5)
    both.add("drop", probability=0.5)
    both.add("slow", probability=0.5)
    for _ in range(50):
        both.strike(Kind.SLOW)
        assert (alone.strike(Kind.DROP) is None) == (both.strike(Kind.DROP) is None)


def test_faults_keep_to_methods_addresses_and_signatures() -> None:
    faults = Faults()
    faults.add("rpc_429", methods=["getSlot"])
    faults.add("empty_page", addresses=["A"])
    faults.add("null_transaction", signatures=["S"])
    assert faults.strike(Kind.RPC_429, method="getSlot") and not faults.strike(Kind.RPC_429, method="getBlock")
    assert faults.strike(Kind.EMPTY_PAGE, address="A") and not faults.strike(Kind.EMPTY_PAGE, address="B")
    assert faults.strike(Kind.NULL_TRANSACTION, signature="S")
    assert not faults.strike(Kind.NULL_TRANSACTION, signature="T")


def test_a_request_has_one_chance_however_many_calls_it_holds() -> None:
    faults = Faults()
    faults.add("http_429", count=1, methods=["getSlot"])
    assert faults.strike_request(Kind.HTTP_429, frozenset(("getBlock",))) is None
    assert faults.strike_request(Kind.HTTP_429, frozenset(("getBlock", "getSlot"))) is not None
    assert faults.strike_request(Kind.HTTP_429, frozenset(("getSlot",))) is None


def test_what_a_transaction_looks_like_stays() -> None:
    faults = Faults(3)
    faults.add("null_logs", probability=0.5)
    first = [faults.strike(Kind.NULL_LOGS, signature=str(number)) is not None for number in range(40)]
    assert first == [faults.strike(Kind.NULL_LOGS, signature=str(number)) is not None for number in range(40)]
    assert 0 < sum(first) < 40
    counted = Faults()
    counted.add("version_1", count=1)
    assert [bool(counted.strike(Kind.VERSION_1, signature=one)) for one in "abab"] == [True, False, True, False]


def test_faults_are_lifted_by_kind_or_all() -> None:
    faults = Faults()
    for kind in ("drop", "slow", "lag"):
        faults.add(kind)
    faults.clear(["drop"])
    assert [fault["kind"] for fault in faults.listed()] == ["slow", "lag"]
    faults.clear()
    assert not faults


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "no such"},
        {"kind": "drop", "probability": 2},
        {"kind": "drop", "count": -1},
        {"kind": "drop", "frequency": 1},
        {"kind": "slow", "value": "long"},
        {"kind": "lag", "value": -3},
    ],
)
def test_faults_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Faults().add(**options)  # type: ignore[arg-type]
