"""`hae submit`: jobs from the command line or a file, over the API."""

from __future__ import annotations

import time
from typing import Annotated, Any, cast

import msgspec
import typer

from app.cli.asking_api import (
    CODES,
    REFUSED,
    JsonOption,
    KeyOption,
    TimeoutOption,
    UrlOption,
    print_json,
    read_json,
    server,
)
from app.cli.environment import CommandError
from app.core.requirements import JobType
from hae_client import Client
from hae_client.models import JobAnswer, SubmitJob


def add_to(cli: typer.Typer) -> None:
    cli.command(epilog=CODES)(submit)


def submit(
    file: Annotated[
        str, typer.Argument(help="JSON: a job, or a list of jobs; - = standard input. Options are put on top of each")
    ] = "",
    type_: Annotated[JobType | None, typer.Option("--type", help="What kind of work it is")] = None,
    model: Annotated[str, typer.Option(help="Model to run, such as qwen-7b")] = "",
    prompt: Annotated[str, typer.Option(help="What the model is asked")] = "",
    input_: Annotated[str, typer.Option("--input", help="Anything else the node needs, as a JSON object")] = "",
    gpu_model: Annotated[list[str] | None, typer.Option(help="Any of these models; repeatable")] = None,
    gpus: Annotated[int, typer.Option(help="GPUs of one node", min=0, show_default="1")] = 0,
    min_vram_gb: Annotated[int, typer.Option(help="GB of memory per GPU", min=0, show_default="any")] = 0,
    region: Annotated[str, typer.Option(help="Continent of the node: AF, AS, EU, NA, OC or SA")] = "",
    max_price: Annotated[str, typer.Option(help="HYPER per GPU-hour at most, such as 0.25")] = "",
    policy: Annotated[str, typer.Option(help="How to choose the node, such as cheapest")] = "",
    priority: Annotated[int | None, typer.Option(min=0, max=9, help="Higher goes first", show_default="0")] = None,
    run_s: Annotated[int, typer.Option(help="Longest run in seconds", min=0, show_default="the network's")] = 0,
    deadline_s: Annotated[
        int, typer.Option(help="Seconds from now after which a result is of no use", min=0, show_default="none")
    ] = 0,
    idempotency_key: Annotated[
        str, typer.Option(help="The same key and job make one job, however often this is run")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end, and print the result")] = False,
    timeout_s: TimeoutOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Submit a job, or a file of jobs. Prints the ids, or with --wait the results.

    Examples:

    hae submit --type llm_inference --model qwen-7b --prompt "Explain quantum computing" --wait

    hae submit jobs.json --max-price 0.5
    """
    given: dict[str, Any] = {
        "type": type_.value if type_ else "",
        "model": model,
        "prompt": prompt,
        "input": _object(input_),
        "gpu_models": gpu_model or [],
        "gpus": gpus,
        "min_vram_gb": min_vram_gb,
        "region": region,
        "max_price_per_gpu_hour_hyper": max_price,
        "policy": policy,
        "timeout_s": run_s,
        "deadline_s": deadline_s,
    }
    options = {name: value for name, value in given.items() if value}
    if priority is not None:
        options["priority"] = priority
    read = read_json(file) if file else {}
    if not file and not type_:
        raise CommandError("say --type, such as llm_inference, or name a file of jobs")
    with server(url, key, as_json=as_json) as client:
        if isinstance(read, list):
            _many(client, [_job(one, options) for one in read], idempotency_key, wait, timeout_s, as_json)
        else:
            _one(client, _job(read, options), idempotency_key, wait, timeout_s, as_json)


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any]) if text else {}
    except msgspec.DecodeError as error:
        raise CommandError(f"--input must be a JSON object such as '{{\"steps\": 20}}': {error}") from error


def _job(read: Any, options: dict[str, Any]) -> SubmitJob:
    if not isinstance(read, dict):
        raise CommandError('a job is a JSON object, such as {"type": "llm_inference", "model": "qwen-7b"}')
    # The server looks at what it holds, and says what is wrong better than could be said here.
    return cast("SubmitJob", {**read, **options})


def _one(
    client: Client, job: SubmitJob, idempotency_key: str, wait: bool, timeout_s: float | None, as_json: bool
) -> None:
    if idempotency_key:
        job["idempotency_key"] = idempotency_key
    made = client.submit(**job)
    if not wait:
        print_json(made) if as_json else print(made.job_id)
        return
    _end(_waited(client, made.job_id, timeout_s, as_json))


def _many(
    client: Client, jobs: list[SubmitJob], idempotency_key: str, wait: bool, timeout_s: float | None, as_json: bool
) -> None:
    results = client.submit_many(jobs, idempotency_key=idempotency_key)
    until = None if timeout_s is None else time.monotonic() + timeout_s
    well = True
    for item in results:
        if item.problem is not None or not wait:
            if as_json:
                print_json(item)
            else:
                refused = item.problem
                print(item.job_id if refused is None else f"job {item.index}: {refused.code}: {refused.detail}")
            well = well and item.problem is None
        else:
            left = None if until is None else max(0.0, until - time.monotonic())
            well = _waited(client, item.job_id, left, as_json) and well
    _end(well)


def _waited(client: Client, job_id: str, timeout_s: float | None, as_json: bool) -> bool:
    """Prints the job's end; whether it is a good one."""
    job = client.wait(job_id, timeout_s)
    if as_json:
        print_json(job)
    else:
        print("\n".join(told(job)))
    return job.state == "completed"


def told(job: JobAnswer) -> list[str]:
    """How a job ended, in lines for people."""
    cost = f", {job.cost_hyper} HYPER" if job.cost_hyper else ""
    lines = [f"{job.job_id} {job.state} ({job.reason}{cost})"]
    if job.error:
        lines.append(job.error)
    if job.result is not None:
        lines.append(job.result if isinstance(job.result, str) else msgspec.json.encode(job.result).decode())
    return lines


def _end(well: bool) -> None:
    if not well:
        raise typer.Exit(REFUSED)
