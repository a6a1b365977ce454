"""What an agent is told about a match, and that it can act on it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.catalogue import JOB
from tests.http.conftest import as_
from tests.support.live_engine import Hae, Node, problem_of, until_state

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_match_on_trial_says_what_to_change_and_the_change_helps(hae: Hae) -> None:
    alice = as_(hae, "alice")
    described = {"capabilities": ["render"], "gpu_model": "explained", "vram_gb": 24}
    node = await Node.register(
        as_(hae, "miner"), "explained", **described, region="OC", price_per_gpu_hour_hyper="0.75"
    )
    wants: dict[str, Any] = {"type": "render", "gpu_models": ["explained"], "min_vram_gb": 24, "region": "OC"}
    for argument, wrong in (
        ("min_vram_gb", 48),
        ("region", "AF"),
        ("gpus", 4),
        ("max_price_per_gpu_hour_hyper", "0.5"),
        ("capabilities", ["training", "render"]),
    ):
        refused = (await alice.post("/v1/tools/match", json={**wants, argument: wrong})).json()
        assert (refused["matched"], refused["verdict"]) == (False, "never_fits"), argument
        assert refused["told"].startswith("No node of the network would do")
        change = next(one for one in refused["relaxations"] if one["requirement"] == argument)
        assert (change["from"], change["nodes"]) == (wrong, 1)
        again = {**wants, argument: change["to"]}
        helped = (await alice.post("/v1/tools/match", json=again)).json()
        assert (helped["matched"], helped["candidates"][0]["node_id"]) == (True, node.id), argument
        assert helped["relaxations"] == []
    short = (await alice.post("/v1/match", json={**wants, "explain": False})).json()
    assert (short["matched"], short["feasible"], short["told"]) == (True, -1, "")
    assert short["candidates"] == helped["candidates"]


async def test_a_job_tells_why_it_waits_and_why_it_was_matched(hae: Hae) -> None:
    alice = as_(hae, "alice")
    body = {**JOB, "gpu_models": ["patience"], "min_vram_gb": 80}
    job_id = (await alice.post("/v1/jobs", json=body)).json()["job_id"]
    await Node.register(as_(hae, "miner"), "patience-1", capabilities=["inference"], gpu_model="patience", vram_gb=40)
    # The look that sees the node comes by itself, and finds it too small.
    waiting: dict[str, Any] = {}
    for _ in range(200):
        waiting = (await alice.get(f"/v1/jobs/{job_id}/match")).json()
        if waiting["relaxations"]:
            break
        await alice.get(f"/v1/jobs/{job_id}/wait", params={"wait_s": 0.1, "until": "change"})
    assert [change["text"] for change in waiting["relaxations"]] == ["vram 80 → 40: 1 node"]
    assert (waiting["verdict"], waiting["chosen"], waiting["refused"]) == ("never_fits", {}, [])
    assert waiting["view_age_s"] >= 0
    large = await Node.register(
        as_(hae, "miner"), "patience-2", capabilities=["inference"], gpu_model="patience", vram_gb=80
    )
    await until_state(alice, job_id, ["offered"])
    found = (await alice.get(f"/v1/jobs/{job_id}/match")).json()
    assert (found["verdict"], found["chosen"]["node_id"], found["relaxations"]) == ("", large.id, [])
    assert found["feasible"] == 1
    assert found["counted_at_version"] == found["view_version"]
    assert found["told"].startswith(f"{large.id} was chosen, the best by the policy of 1 node")


async def test_an_unknown_policy_is_refused_with_those_there_are(hae: Hae) -> None:
    alice = as_(hae, "alice")
    for path, body in (("/v1/jobs", JOB), ("/v1/match", {}), ("/v1/quotes", {}), ("/v1/tools/match", {})):
        problem = problem_of(await alice.post(path, json={**body, "policy": "dearest"}), 422, code="invalid_input")
        assert problem["field"] == "policy", path
        assert "known are reputation_weighted, cheapest, fastest, spread" in problem["detail"]
    for policy in ("fastest", "spread"):
        assert (await alice.post("/v1/match", json={"policy": policy})).json()["policy"] == policy
