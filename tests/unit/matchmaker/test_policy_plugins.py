"""Policies of installed packages: found by entry point, checked, and left out with the reason when they are no good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.errors import InvalidInput
from app.core.requirements import Requirements
from app.matchmaker import policy
from app.matchmaker.types import Query
from app.matchmaker.view import NodeView
from tests.unit.matchmaker.cases import node

MODULE = """
from app.matchmaker.policy import CHEAPEST, Policy
from app.matchmaker.weights import Weights


class Staked(Policy):
    name = "staked"
    summary = "The highest stake"
    weights = Weights(reputation=0, stake=1, completion=0, load=0, response=0, price=0)


class Dearest(Policy):
    name = "dearest"
    summary = "The highest price, which no index can follow"

    def keys(self, scores, prices, cheapest, percent):
        return (-prices,)


class Nameless(Policy):
    summary = "It has no name"


class Usurper(Staked):
    name = "cheapest"


NOT_A_POLICY = 7
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with a good policy and five bad ones."""
    (tmp_path / "plugin_of_policies.py").write_text(MODULE)
    metadata = tmp_path / "plugin_of_policies-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-policies\nVersion: 1.0\n")
    names = ("Staked", "Dearest", "Nameless", "Usurper", "NOT_A_POLICY", "missing")
    lines = [f"{name.lower()} = plugin_of_policies:{name}" for name in names]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{policy.GROUP}]", *lines]) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    policy._load.cache_clear()
    yield
    policy._load.cache_clear()


@pytest.mark.usefixtures("package")
def test_an_installed_policy_is_used_by_its_name() -> None:
    assert list(policy.policies()) == ["reputation_weighted", "cheapest", "fastest", "spread", "staked"]
    view = NodeView()
    view.upsert([node("node_a", stake=5, reputation=1000), node("node_b", stake=6 * 10**9, reputation=0)])
    best = view.match(Query("job_1", Requirements(), policy="staked")).best
    assert best is not None
    assert best.node_id == "node_b"


@pytest.mark.usefixtures("package")
def test_bad_ones_are_left_out_with_the_reason() -> None:
    told = "\n".join(policy.policy_problems())
    assert len(policy.policy_problems()) == 5
    for reason in (
        "not monotone",
        "its name must be",
        "there is a policy 'cheapest' already",
        "it is no Policy",
        "missing",
    ):
        assert reason in told
    with pytest.raises(InvalidInput, match="known are reputation_weighted, cheapest, fastest, spread, staked"):
        policy.get_policy("dearest")


def test_without_packages_there_are_no_problems() -> None:
    assert policy.policy_problems() == ()
    for one in policy.POLICIES.values():
        policy.check_policy(one)
