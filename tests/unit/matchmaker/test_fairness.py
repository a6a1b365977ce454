"""The order of right: nothing starves, shares follow the weights, more urgent never goes later."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from app.matchmaker.fairness import NEVER, Line, Share, Waiter, rank_us

AGE = 1_000
KEYS = ("a", "b", "c")
waiters = st.builds(
    Waiter,
    job_id=st.uuids().map(str),
    key_id=st.sampled_from(KEYS),
    slots=st.sampled_from([1, 1, 2, 4]),
    rank=st.integers(-5 * AGE, 5 * AGE),
    deadline=st.one_of(st.just(NEVER), st.integers(0, 10)),
)
backlogs = st.lists(waiters, max_size=30, unique_by=lambda waiter: waiter.job_id)
shares = st.dictionaries(
    st.sampled_from(KEYS),
    st.builds(Share, weight=st.integers(1, 1000), max_active=st.sampled_from([0, 0, 1, 3, 8]), held=st.integers(0, 8)),
)


def drawn(line: Line, slots: int = NEVER) -> list[Waiter]:
    """Those who get slots while there are ``slots`` of them."""
    got = []
    for waiter in line:
        if waiter.slots > slots:
            break
        line.grant(waiter)
        got.append(waiter)
        slots -= waiter.slots
    return got


@given(backlogs, shares, st.randoms())
def test_everyone_comes_once_or_is_over_quota_whatever_order_they_came_in(
    backlog: list[Waiter], given_shares: dict[str, Share], dice: object
) -> None:
    line = Line(backlog, given_shares, AGE)
    order = drawn(line)
    assert sorted(one.job_id for one in order + line.over_quota) == sorted(one.job_id for one in backlog)
    shuffled = list(backlog)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert drawn(Line(shuffled, given_shares, AGE)) == order


@given(backlogs, shares)
def test_no_key_is_granted_more_than_its_quota(backlog: list[Waiter], given_shares: dict[str, Share]) -> None:
    line = Line(backlog, given_shares, AGE)
    order = drawn(line)
    for key_id, share in given_shares.items():
        granted = sum(one.slots for one in order if one.key_id == key_id)
        assert not share.max_active or share.held + granted <= max(share.held, share.max_active)
    # Who is held back would overdraw its key, or stands behind one that would.
    for key_id in {one.key_id for one in line.over_quota}:
        first = min((one for one in line.over_quota if one.key_id == key_id), key=lambda one: one.rank // AGE)
        assert given_shares[key_id].max_active
        assert line.room(key_id) < first.slots or any(line.room(key_id) < one.slots for one in line.over_quota)


@given(backlogs, shares)
def test_a_higher_class_always_goes_before_a_lower_one(backlog: list[Waiter], given_shares: dict[str, Share]) -> None:
    classes = [one.rank // AGE for one in drawn(Line(backlog, given_shares, AGE))]
    assert classes == sorted(classes)


@given(backlogs.filter(bool), shares, st.integers(1, 5 * AGE), st.data())
def test_waiting_longer_or_more_priority_never_puts_a_job_further_back(
    backlog: list[Waiter], given_shares: dict[str, Share], gain: int, data: st.DataObject
) -> None:
    free = {key_id: replace(share, max_active=0) for key_id, share in given_shares.items()}
    favoured = data.draw(st.sampled_from(backlog))
    others = [one for one in backlog if one is not favoured]
    steps = data.draw(st.integers(0, 9))
    assert rank_us(0, steps, AGE) <= rank_us(gain, steps, AGE)
    assert rank_us(gain, steps + 1, AGE) < rank_us(gain, steps, AGE)
    # By a class or more: within one, shares decide.
    better = replace(favoured, rank=favoured.rank - gain * AGE)

    def place(waiter: Waiter) -> int:
        return [one.job_id for one in drawn(Line([*others, waiter], free, AGE))].index(waiter.job_id)

    assert place(better) <= place(favoured)


@settings(max_examples=25)
@given(st.integers(0, 9), st.integers(1, 5))
def test_nothing_starves_however_many_more_urgent_jobs_keep_coming(priority: int, per_tick: int) -> None:
    old = Waiter("old", "a", 1, rank_us(0, 0, AGE))
    backlog, ticks = [old], 0
    while old in backlog:
        # One slot a tick, and more newcomers than that.
        now = ticks * AGE // 4
        backlog += [Waiter(f"{ticks}-{n}", "b", 1, rank_us(now, priority, AGE)) for n in range(per_tick)]
        backlog.remove(drawn(Line(backlog, {}, AGE), slots=1)[0])
        ticks += 1
        assert ticks <= 4 * (priority + 2) * per_tick + 8
    assert ticks >= 1


@settings(max_examples=50)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=3), st.integers(20, 60))
def test_shares_under_saturation_are_as_the_weights(weights: list[int], slots: int) -> None:
    by_key = dict(zip(KEYS, weights, strict=False))
    backlog = [Waiter(f"{key}{n}", key, 1, n) for key in by_key for n in range(slots)]
    got = Counter(one.key_id for one in drawn(Line(backlog, {k: Share(w) for k, w in by_key.items()}, AGE), slots))
    for key, weight in by_key.items():
        # Filling one slot at a time strays from the exact share by less than one slot a key.
        assert abs(got[key] - slots * weight / sum(weights)) < len(by_key)


def test_slots_held_already_count_for_the_share() -> None:
    backlog = [Waiter(f"{key}{n}", key, 1, n) for key in "ab" for n in range(8)]
    got = drawn(Line(backlog, {"a": Share(weight=1, held=4), "b": Share(weight=1)}, AGE), slots=6)
    assert Counter(one.key_id for one in got) == {"b": 5, "a": 1}


def test_the_earlier_deadline_goes_first_within_a_class_only() -> None:
    late, soon, never = Waiter("late", "a", 1, 0, 20), Waiter("soon", "a", 1, 9, 10), Waiter("never", "a", 1, 0)
    urgent = Waiter("urgent", "a", 1, -AGE)
    order = drawn(Line([late, soon, never, urgent], {}, AGE))
    assert [one.job_id for one in order] == ["urgent", "soon", "late", "never"]


def test_a_job_of_many_slots_holds_back_its_keys_later_ones_unless_it_can_never_run() -> None:
    wide, small, other = Waiter("wide", "a", 4, 0), Waiter("small", "a", 1, 1), Waiter("other", "b", 1, 2)
    line = Line([wide, small, other], {"a": Share(max_active=4, held=2)}, AGE)
    assert [one.job_id for one in drawn(line)] == ["other"]
    assert [one.job_id for one in line.over_quota] == ["wide", "small"]
    line = Line([wide, small, other], {"a": Share(max_active=3, held=2)}, AGE)
    assert [one.job_id for one in drawn(line)] == ["other", "small"]
