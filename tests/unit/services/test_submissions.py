"""What makes two requests the same, now and for keys that were stored by earlier versions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.core.states import ExcludeNodes
from tests import factories


def test_digests_stored_by_earlier_versions_still_hold() -> None:
    """Both were computed by the version that knew neither start times nor retry policies."""
    plain, late = factories.submission(), factories.submission(deadline_s=90)
    assert plain.digest() == "5644b0e231f49d85d62112761e1d4787c19ba362fb56da3b257eadd4d673f49e"
    assert late.digest() == "7e0b435ceeaada38fa05fcccfd676f62674c0b6c9306d4c846c3458a9dd8160d"


@pytest.mark.parametrize(
    "changes",
    [
        {"start_at": datetime(2030, 1, 1, tzinfo=UTC)},
        {"delay_s": 5},
        {"max_attempts": 3},
        {"retry_backoff_s": 3},
        {"retry_backoff_max_s": 3},
        {"exclude_nodes": ExcludeNodes.LAST},
        {"rerun_of": "job_1"},
        {"schedule_id": "sched_1"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_wish_is_another_request(changes: dict[str, Any]) -> None:
    assert factories.submission(**changes).digest() != factories.submission().digest()
    assert factories.submission(**changes).digest() == factories.submission(**changes).digest()
