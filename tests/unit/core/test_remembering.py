"""A memory bounded by weight."""

from __future__ import annotations

from app.core.remembering import Remembered


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    kept: Remembered[str, int] = Remembered(10)
    for key, value in (("a", 1), ("b", 2), ("c", 3)):
        kept.put(key, value, 3)
    assert kept.get("a") == 1
    kept.put("d", 4, 4)
    assert [kept.get(key) for key in "abcd"] == [1, None, 3, 4]
    assert (len(kept), kept.weight) == (3, 10)


def test_what_is_too_heavy_is_not_remembered_and_takes_no_place() -> None:
    kept: Remembered[str, int] = Remembered(10)
    kept.put("a", 1, 4)
    kept.put("b", 2, 11)
    assert (kept.get("a"), kept.get("b"), kept.weight) == (1, None, 4)
    kept.put("a", 3, 11)
    assert (kept.get("a"), len(kept), kept.weight) == (None, 0, 0)


def test_a_value_put_again_takes_the_place_of_the_first() -> None:
    kept: Remembered[str, int] = Remembered(10)
    kept.put("a", 1, 4)
    kept.put("a", 2, 6)
    assert (kept.get("a"), kept.weight) == (2, 6)
