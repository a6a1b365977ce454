"""Specs over HTTP: stored under their hash, which every answer about the same job tells, too."""

from __future__ import annotations

from typing import Any

import pytest

from app.services import specs
from tests.http.catalogue import HASH, JOB, nothing_changes
from tests.http.conftest import as_
from tests.support.live_engine import Hae, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

OF_JOB = "25e8f9f07b9ea1c851e8176416449da8383e2d428de08ef0bd8eb62a21c6b867"


async def test_a_spec_is_stored_once_under_the_hash_that_its_job_has(still: Hae) -> None:
    alice, bob = as_(still, "alice"), as_(still, "bob")
    # The same request, its fields in another order, some of them at their defaults.
    bodies = [JOB, {**dict(reversed(JOB.items())), "gpus": 1, "input": {}}]
    said = [await alice.put("/v1/specs", json=body) for body in (*bodies, JOB)] + [await bob.put("/v1/specs", json=JOB)]
    assert [answer.status_code for answer in said] == [201, 200, 200, 200]
    assert [answer.json() for answer in said] == [
        {"requirements_hash": OF_JOB, "created": number == 0} for number in range(4)
    ]
    assert {answer.headers["location"] for answer in said} == {f"/v1/specs/{OF_JOB}"}
    made = (await alice.post("/v1/jobs", json={**JOB, "idempotency_key": "any"})).json()
    again = (await alice.post("/v1/tools/submit_job", json={**JOB, "idempotency_key": "any"})).json()
    shown = (await alice.get(f"/v1/jobs/{made['job_id']}")).json()
    (listed,) = [job for job in (await alice.get("/v1/jobs")).json()["jobs"] if job["job_id"] == made["job_id"]]
    assert {one["requirements_hash"] for one in (made, again, shown, listed)} == {OF_JOB}
    assert (again["created"], "chain" in shown) == (False, False)


async def test_a_spec_is_its_owners_and_the_operators_to_see(still: Hae) -> None:
    spec = {"type": "render", "input": {"frames": [1, 2.5], "na\u00efve": True}, "max_retries": 2}
    stored = (await as_(still, "alice").put("/v1/specs", json={**spec, "policy": ""})).json()
    path = f"/v1/specs/{stored['requirements_hash']}"
    for who in ("alice", "ops"):
        found = (await as_(still, who).get(path)).json()
        assert found.pop("created_at").endswith("Z")
        assert found == {"requirements_hash": stored["requirements_hash"], "spec": spec}
    problem_of(await as_(still, "bob").get(path), 404, code="spec_not_found")
    for nobody in (HASH, "x", OF_JOB.upper(), "%20" * 100):
        problem_of(await as_(still, "alice").get(f"/v1/specs/{nobody}"), 404, code="spec_not_found")
    async with still.engine.db.unit() as uow:
        (known,) = (await specs.known(uow, [stored["requirements_hash"]])).values()
    assert (known.principal.account, known.max_retries, known.payload) == ("alice", 2, {"input": spec["input"]})
    assert known.timeout_s == still.settings.jobs.run_timeout_s


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"idempotency_key": "a"}, "idempotency_key"),
        ({"type": "mining"}, "type"),
        ({"prompt": "x" * 100_001}, "prompt"),
        ({"max_price_per_gpu_hour_hyper": "0"}, "max_price_per_gpu_hour_hyper"),
        ({"input": {"a": "\0"}}, "input.a"),
        ({"input": {"a": 2**63}}, "input.a"),
    ],
)
async def test_what_could_not_be_submitted_is_no_spec(still: Hae, wrong: dict[str, Any], field: str) -> None:
    async with nothing_changes(still):
        told = problem_of(await as_(still, "alice").put("/v1/specs", json={**JOB, **wrong}), 422, code="invalid_input")
    assert told["field"] == field
