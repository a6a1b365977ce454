"""Profiles gathered by area."""

from __future__ import annotations

import cProfile
from pathlib import Path

import msgspec
import pytest

from app.bench.areas import OTHER, breakdown
from app.core.ids import new_id
from app.core.money import format_hyper


def _profiled(file: Path) -> None:
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(2_000):
        msgspec.json.encode([new_id("job"), format_hyper(123_456_789)])
    profile.disable()
    profile.dump_stats(str(file))


def test_time_counts_for_the_area_of_its_function_or_of_its_callers(tmp_path: Path) -> None:
    file = tmp_path / "profile.pstats"
    _profiled(file)
    found = breakdown(str(file), heaviest=5)
    assert sum(found.areas.values()) == pytest.approx(found.total_s)
    # divmod and the like, built-ins that new_id and format_hyper call, are theirs.
    assert {"ids", "JSON", "waves: decisions on rows"} <= found.areas.keys()
    assert found.areas.get(OTHER, 0.0) < 0.5 * found.total_s
    assert len(found.functions) == 5
    assert [own_s for _, own_s, _ in found.functions] == sorted((row[1] for row in found.functions), reverse=True)
    assert any(calls == 2_000 for _, _, calls in found.functions)


def test_an_empty_profile_has_no_areas(tmp_path: Path) -> None:
    file = tmp_path / "profile.pstats"
    profile = cProfile.Profile()
    profile.enable()
    profile.disable()
    profile.dump_stats(str(file))
    assert breakdown(str(file)).total_s == pytest.approx(0.0, abs=0.001)
