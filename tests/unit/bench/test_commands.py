"""What `hae bench` refuses, before anything is started."""

from __future__ import annotations

import pytest
import typer

from app.bench import peers
from app.cli.bench_api import api
from app.cli.bench_lifecycle import lifecycle
from app.cli.environment import CommandError


def test_finished_jobs_need_whole_histories() -> None:
    with pytest.raises(CommandError, match="--history must be at least 5 times --finished"):
        lifecycle(finished=1_000, history=4_999)


def test_what_does_not_fit_on_the_disk_is_not_begun() -> None:
    with pytest.raises(CommandError, match="GB left: make room"):
        lifecycle(finished=10**12)


def test_without_the_extra_it_says_how_to_get_it_or_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"pip install 'hypernode-automation-engine\[bench\]'; or .*--peer-jobs 0"):
        lifecycle()


def test_a_profile_is_of_submissions_or_of_batches() -> None:
    with pytest.raises(typer.BadParameter, match="submit or batch"):
        api(profile="all")
