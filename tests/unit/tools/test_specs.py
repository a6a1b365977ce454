"""The canonical form of a spec: what it leaves out, what it keeps, and that anybody can compute it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tools.schemas import JobSpec, SubmitJob
from tools.specs import canonical_spec, requirements_hash, spec_of

FULL: dict[str, Any] = {
    "type": "llm_inference",
    "model": "qwen-2.5",
    "prompt": "Warum? 😀",
    "input": {"z": 1, "a": {"c": [1, None, True], "b": "é"}},
    "gpu_models": ["RTX 4090", "A100"],
    "gpus": 2,
    "min_vram_gb": 16,
    "capabilities": ["inference"],
    "region": "EU",
    "min_reputation": 5,
    "max_price_per_gpu_hour_hyper": "0.50",
    "policy": "cheapest",
    "priority": 1,
    "timeout_s": 60,
    "queue_ttl_s": 60,
    "max_retries": 0,
    "deadline_s": 90,
    "max_attempts": 5,
    "retry_backoff_s": 2,
    "retry_backoff_max_s": 60,
    "exclude_nodes": "last",
}


def test_it_is_what_the_documents_say() -> None:
    page = (Path(__file__).parents[3] / "docs" / "specs.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    told: dict[str, Any] = {}
    exec(code, told)
    asked = msgspec.convert(told["spec"], SubmitJob)
    assert canonical_spec(asked) == told["canonical"]
    assert requirements_hash(asked) in code


@pytest.mark.parametrize("kind", [JobSpec, SubmitJob])
def test_every_field_counts_as_it_was_given(kind: type[JobSpec]) -> None:
    asked = msgspec.convert(FULL, kind)
    assert spec_of(asked) == FULL
    expected = json.dumps(FULL, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical_spec(asked) == expected
    assert requirements_hash(asked) == hashlib.sha256(expected).hexdigest()
    assert set(FULL) == set(JobSpec.__struct_fields__)


def test_fields_at_their_defaults_and_the_idempotency_key_do_not_count() -> None:
    short = SubmitJob(type="render")  # type: ignore[arg-type]
    spoken = msgspec.convert(
        {
            "type": "render",
            "gpus": 1,
            "gpu_models": [],
            "input": {},
            "max_retries": -1,
            "idempotency_key": "mine",
            "exclude_nodes": "failed",
            "start_at": "2030-01-01T00:00:00Z",
            "delay_s": 5,
        },
        SubmitJob,
    )
    assert canonical_spec(short) == canonical_spec(spoken) == b'{"type":"render"}'


def test_different_requests_have_different_hashes() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"gpus": 2},
        {"input": {"gpus": 2}},
        {"prompt": "0.5"},
        {"model": "0.5"},
        {"max_retries": 0},
    ]
    hashes = {requirements_hash(msgspec.convert({"type": "render", **one}, JobSpec)) for one in changes}
    assert len(hashes) == len(changes)
