"""Settings of the matchmaker that make no sense are refused by name before anything starts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from app.cli.environment import check_policy
from app.core.errors import InvalidInput
from app.matchmaker.policy import policies
from app.services.views import matchmaker_from
from app.settings import Settings, SettingsError, load


@pytest.mark.parametrize("value", ["-1", "1001", "nan", "inf", "-inf", "1e999", "2.5", "many"])
@pytest.mark.parametrize("name", ["HAE_MATCHMAKER_WEIGHTS_REPUTATION", "HAE_MATCHMAKER_WEIGHTS_PRICE"])
def test_weights_that_are_no_weights_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(env={name: value})


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "2.5", "'many'", "[1]"])
def test_so_they_are_in_a_file(tmp_path: Path, value: str) -> None:
    file = tmp_path / "engine.toml"
    file.write_text(f"[matchmaker.weights]\nstake = {value}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"matchmaker\.weights\.stake"):
        load(file, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HAE_MATCHMAKER_MIN_REPUTATION", "-1"),
        ("HAE_MATCHMAKER_MIN_REPUTATION", "nan"),
        ("HAE_MATCHMAKER_TOP_N", "0"),
        ("HAE_MATCHMAKER_REFRESH_S", "nan"),
        ("HAE_MATCHMAKER_REFRESH_S", "inf"),
        ("HAE_MATCHMAKER_REFRESH_S", "-0.5"),
    ],
)
def test_the_other_numbers_are_held_to_their_ranges(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(env={name: value})


def test_a_matchmaker_is_not_built_on_weights_that_are_all_zero() -> None:
    nothing = dict.fromkeys(("reputation", "stake", "completion", "load", "response"), 0)
    settings = msgspec.convert({"matchmaker": {"weights": nothing}}, Settings)
    with pytest.raises(InvalidInput, match="must be more than 0"):
        matchmaker_from(settings.matchmaker)


def test_the_networks_policy_must_be_one_that_there_is() -> None:
    for name in policies():
        check_policy(load(env={"HAE_MATCHMAKER_ALGORITHM": name}))
    with pytest.raises(SettingsError) as caught:
        check_policy(load(env={"HAE_MATCHMAKER_ALGORITHM": "dearest"}))
    assert str(caught.value) == (
        f"matchmaker.algorithm (HAE_MATCHMAKER_ALGORITHM): unknown policy 'dearest'; known are {', '.join(policies())}"
    )
