"""What the lifecycle benchmarks put in: nodes of a few models, and jobs that fit them, all of one account."""

from __future__ import annotations

from app.core.access import Principal
from app.core.requirements import JobType, Requirements
from app.services import nodes
from app.services.nodes import Registration
from app.services.submissions import Submission
from app.store.db import Database
from tools.schemas import SubmitJob
from tools.specs import requirements_hash

SLOTS = 8
MODELS = ("a100", "h100", "rtx 4090", "t4")
PRINCIPAL = Principal("key_bench", "bench", frozenset({"agent", "node"}))
RESULT = {"text": "done", "tokens": 128}


async def register(db: Database, count: int) -> None:
    """Bring ``count`` nodes of SLOTS slots online."""
    for number in range(count):
        await nodes.register(db, PRINCIPAL, node(number))


def node(number: int) -> Registration:
    return Registration(
        wallet=f"bench-{number}",
        gpu_model=MODELS[number % len(MODELS)],
        gpus=SLOTS,
        vram_gb=24 + 8 * (number % 4),
        capabilities=255,
        region="EU",
        price=100_000_000 + number,
        capacity=SLOTS,
        details={},
    )


def request(number: int) -> SubmitJob:
    """A job as an agent asks for it."""
    return SubmitJob(
        type=JobType.LLM_INFERENCE,
        model="qwen-7b",
        prompt=f"Explain quantum computing in {number} words",
        gpu_models=[MODELS[number % len(MODELS)]],
        min_vram_gb=24,
    )


def submission(number: int) -> Submission:
    """The same job as the API hands it to the services."""
    asked = request(number)
    wants = Requirements(gpu_models=tuple(asked.gpu_models), min_vram_gb=24, capabilities=1)
    return Submission(
        PRINCIPAL,
        "llm_inference",
        {"model": asked.model, "prompt": asked.prompt},
        wants,
        "reputation_weighted",
        0,
        3600,
        3,
        600,
        requirements_hash=requirements_hash(asked),
    )
