"""What a demo plays: which nodes and jobs of the trace, who misbehaves, and when each job is submitted."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from app.core.requirements import TYPE_CAPABILITIES, JobType
from app.demo.onchain import CLIENTS, WRONG, Pay, Way, operator_wallet, price_of
from app.demo.trace import TraceJob, TraceNode, capability_names, load_jobs, load_nodes, replayed_s, violations
from app.node_worker import Behaviour, NodeConfig

DEFAULT_JOBS = 2000
DEFAULT_SEED = 2023
SUBMIT_PER_S = 65.0
"""Pace of the submissions: what two cores carry together with the nodes' own side of the jobs."""
SUBMITTED = 0.15
"""Share of the jobs that are submitted before they are created on chain; the engine learns of the others from there."""
REPEATED = 0.3
"""Share of those that are submitted twice with one idempotency key, as an agent does whose answer was lost."""
SPECLESS = 0.005
"""Share of the jobs whose spec is never stored."""
PAID_WRONGLY = 0.01
TOLD_BY_SPLITTER = 0.1
"""Share of the payments of which the splitter tells, too."""
DOOMED_SHARE = 0.015
_LEAST_SPECLESS = 2
_LARGEST_GAPS = 0.9
_FAILED_PODS_THAT_FAIL = 0.1


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """``nodes`` 0 = all of the trace. ``workers``: `hae worker` processes. ``kill_…_at``: share of jobs ended at which
    that process, or the first of its kind, is killed.
    """

    jobs: int = DEFAULT_JOBS
    nodes: int = 0
    seed: int = DEFAULT_SEED
    keep: bool = False
    workers: int = 1
    kill_worker_at: float | None = None
    kill_listener_at: float | None = None


class FleetNode(msgspec.Struct, frozen=True):
    """One node as its fleet process runs it."""

    wallet: str
    gpu_model: str
    gpus: int
    vram_gb: int
    capacity: int
    capabilities: list[str]
    region: str
    price: str
    decline_rate: float
    fail_rate: float


class FleetOrder(msgspec.Struct, frozen=True):
    """What a fleet process is told on its standard input, as one line of JSON."""

    url: str
    api_key: str
    seed: int
    nodes: list[FleetNode]

    def configs(self) -> list[NodeConfig]:
        """The workers' configurations."""
        return [
            NodeConfig(
                server_url=self.url,
                api_key=self.api_key,
                wallet=node.wallet,
                gpu_model=node.gpu_model,
                gpus=node.gpus,
                vram_gb=node.vram_gb,
                capacity=node.capacity,
                capabilities=tuple(node.capabilities),
                region=node.region,
                price_per_gpu_hour_hyper=node.price,
                executor="simulate",
                grace_s=1.0,
                behaviour=Behaviour(decline_rate=node.decline_rate, fail_rate=node.fail_rate, seed=self.seed),
            )
            for node in self.nodes
        ]


@dataclass(frozen=True, slots=True)
class Submission:
    """One job to submit ``due_s`` after the start; ``repeat``: send it a second time, with the same key.

    ``job``: what it asks for in the end: a job without its spec asks for what its type does. On chain it is of
    ``client``, costs ``price`` base units of HYPER and is paid as ``pay`` says; ``processed``: the splitter tells of
    the payment, too.
    """

    job: TraceJob
    due_s: float
    key: str
    body: dict[str, Any]
    repeat: bool
    way: Way
    client: int
    price: int
    pay: Pay
    processed: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """``nodes``: by wallet. ``fleets`` are shut down at the end; ``doomed`` is killed in the middle."""

    nodes: dict[str, TraceNode]
    fleets: list[list[FleetNode]]
    doomed: list[FleetNode]
    submissions: list[Submission]
    seed: int = field(default=0)
    workers: int = 1


def build(options: DemoOptions) -> Scenario:
    """The same options always make the same scenario. Jobs keep the trace's order, nodes are drawn evenly."""
    chance = random.Random(options.seed)
    nodes = load_nodes()
    if 0 < options.nodes < len(nodes):
        chosen = sorted(chance.sample(range(len(nodes)), options.nodes))
        nodes = [nodes[index] for index in chosen]
    jobs = load_jobs()
    if options.nodes:
        # A part of the cluster cannot run what only the rest of it could.
        jobs = [job for job in jobs if any(not violations(job, node, node.reputation) for node in nodes)]
    if options.jobs < len(jobs):
        jobs = [jobs[index] for index in sorted(chance.sample(range(len(jobs)), options.jobs))]
    doomed = _doomed(nodes)
    crew = {node.id: _fleet_node(node, chance) for node in nodes}
    living = [crew[node.id] for node in nodes if node.id not in doomed]
    # The first to register are to be a cross-section: the trace lists its nodes model by model.
    chance.shuffle(living)
    return Scenario(
        nodes={crew[node.id].wallet: node for node in nodes},
        fleets=[living[0::2], living[1::2]],
        doomed=[crew[name] for name in sorted(doomed)],
        submissions=_submissions(jobs, chance, options.seed),
        seed=options.seed,
        workers=options.workers,
    )


def _doomed(nodes: list[TraceNode]) -> set[str]:
    """Well-reputed nodes, so that they have jobs when they die; every third of the best, not all of them."""
    count = max(1, round(len(nodes) * DOOMED_SHARE))
    ranked = sorted(nodes, key=lambda node: (-node.reputation, node.price, node.id))
    return {node.id for node in ranked[: 3 * count : 3]}


def _fleet_node(node: TraceNode, chance: random.Random) -> FleetNode:
    fussy = chance.random() < 0.08
    flaky = chance.random() < 0.05
    return FleetNode(
        wallet=operator_wallet(node.id),
        gpu_model=node.gpu_model,
        gpus=node.gpus,
        vram_gb=node.vram_gb,
        capacity=node.capacity,
        capabilities=capability_names(node.capabilities),
        region=node.region,
        price=str(node.price),
        decline_rate=0.5 if fussy else 0.02,
        fail_rate=0.2 if flaky else 0.01,
    )


def _submissions(jobs: list[TraceJob], chance: random.Random, seed: int) -> list[Submission]:
    found = []
    for number, (job, due_s) in enumerate(zip(jobs, due_times([job.submit_s for job in jobs]), strict=True)):
        fails = job.phase == "Failed" and chance.random() < _FAILED_PODS_THAT_FAIL
        way = _way(chance, fails)
        processed = chance.random() < TOLD_BY_SPLITTER
        price = price_of(job)
        found.append(
            Submission(
                job=job,
                due_s=due_s,
                key=f"demo-{seed}-{job.id}",
                body=body(job, fails=fails),
                repeat=way is not Way.SPEC and chance.random() < REPEATED,
                way=way,
                client=number % CLIENTS,
                # The splitter's total is the sum of its parts: nothing may be lost by rounding.
                price=price - price % 100 if processed else price,
                pay=Pay.RIGHT,
                processed=processed,
            )
        )
    _spoil(found, chance)
    return found


def _way(chance: random.Random, fails: bool) -> Way:
    if chance.random() >= SUBMITTED:
        return Way.SPEC
    # By its hash no job is found that has failed meanwhile: for the engine, what comes on chain after that is another.
    return Way.ID if fails else chance.choice((Way.HASH, Way.ID))


def _spoil(submissions: list[Submission], chance: random.Random) -> None:
    """Keep the specs of some jobs back, and plan wrong payments for others, each kind of them at least once."""
    count = len(submissions)
    known = [index for index, one in enumerate(submissions) if one.way is Way.SPEC]
    for index in chance.sample(known, min(len(known), max(_LEAST_SPECLESS, round(count * SPECLESS)))):
        one = submissions[index]
        submissions[index] = replace(one, way=Way.DEFAULTS, job=_by_defaults(one.job))
    wrong = chance.sample(range(count), min(count, max(len(WRONG), round(count * PAID_WRONGLY))))
    for index, pay in zip(wrong, itertools.cycle(WRONG), strict=False):
        submissions[index] = replace(submissions[index], pay=pay, processed=False)


def _by_defaults(job: TraceJob) -> TraceJob:
    """What a job asks for of which only the type is known."""
    needs = int(TYPE_CAPABILITIES[job_type(job.capabilities)])
    return replace(job, models=(), gpus=1, vram_gb=0, capabilities=needs, min_reputation=0, region="", max_price=None)


def due_times(submit_s: list[float]) -> list[float]:
    """The trace's instants compressed to SUBMIT_PER_S on average; the largest gaps are cut, bursts stay bursts."""
    if not submit_s:
        return []
    gaps = [0.0] + [after - before for before, after in itertools.pairwise(submit_s)]
    longest = sorted(gaps)[int(_LARGEST_GAPS * (len(gaps) - 1))]
    cut = [min(gap, longest) for gap in gaps]
    scale = len(gaps) / SUBMIT_PER_S / (sum(cut) or 1.0)
    at, due = 0.0, []
    for gap in cut:
        at += gap * scale
        due.append(at)
    return due


def body(job: TraceJob, *, fails: bool = False) -> dict[str, Any]:
    """The body of POST /v1/jobs for a job of the trace."""
    simulate: dict[str, Any] = {"duration_s": replayed_s(job.duration_s)}
    if fails:
        simulate["fail"] = "the pod failed in the trace"
    asked: dict[str, Any] = {
        "type": job_type(job.capabilities).value,
        "input": {"simulate": simulate, "trace": job.id},
        "gpus": job.gpus,
        "min_vram_gb": job.vram_gb,
        "capabilities": capability_names(job.capabilities),
        "min_reputation": job.min_reputation,
        "priority": job.priority,
        "max_retries": 2,
    }
    if job.models:
        asked["gpu_models"] = list(job.models)
    if job.region:
        asked["region"] = job.region
    if job.max_price is not None:
        asked["max_price_per_gpu_hour_hyper"] = str(job.max_price)
    return asked


def job_type(capabilities: int) -> JobType:
    """The job type that goes with what a job of the trace asks for."""
    for bits, kind in ((4 | 2, JobType.LLM_FINE_TUNING), (64, JobType.RAG_INDEXING), (1, JobType.LLM_INFERENCE)):
        if capabilities & bits:
            return kind
    return JobType.GENERIC_COMPUTE
