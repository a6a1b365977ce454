"""`hae node`: the reference worker."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
import uvloop

from app.core.requirements import JobType
from app.node_worker import EXECUTORS, NodeConfig, OpenAIConfig, run_node, until_signalled
from app.settings import LogSettings
from app.telemetry import setup_logging


def add_to(cli: typer.Typer) -> None:
    cli.command()(node)


def node(
    wallet: Annotated[str, typer.Option(help="The node's wallet address; a node is known by it", show_default=False)],
    gpu_model: Annotated[str, typer.Option(help="As the vendor names it, such as 'RTX 4090'", show_default=False)],
    api_key: Annotated[
        str,
        typer.Option(envvar="HAE_API_KEY", help="Key with scope node", show_envvar=True, show_default=False),
    ],
    url: Annotated[str, typer.Option(envvar="HAE_API_URL", help="The engine")] = "http://127.0.0.1:3002",
    price: Annotated[str, typer.Option(help="HYPER per GPU-hour")] = "0.1",
    gpus: Annotated[int, typer.Option(min=1, max=64)] = 1,
    vram_gb: Annotated[int, typer.Option(min=0, max=1024, help="Per GPU")] = 24,
    capability: Annotated[list[str] | None, typer.Option(help="Repeatable; inference unless said")] = None,
    region: Annotated[str, typer.Option(help="AF, AS, EU, NA, OC or SA; empty = not said")] = "",
    executor: Annotated[str, typer.Option(help=f"What runs the jobs: {', '.join(EXECUTORS)}")] = "echo",
    job_type: Annotated[list[JobType] | None, typer.Option(help="Take only these types; repeatable")] = None,
    openai_url: Annotated[
        str, typer.Option(help="For executor openai: any OpenAI-compatible endpoint, up to and with /v1")
    ] = "http://127.0.0.1:8000/v1",
    model: Annotated[str, typer.Option(help="For executor openai: model of jobs that name none")] = "",
    grace_s: Annotated[float, typer.Option(min=0, help="How long running jobs may go on after SIGTERM")] = 60.0,
    log_level: Annotated[Literal["debug", "info", "warning", "error"], typer.Option(help="How much to say")] = "info",
) -> None:
    """Run jobs on this machine as a node of the network.

    On SIGTERM or Ctrl-C it drains: no new jobs, running ones finish, then it exits with 0. A second signal exits at
    once.

    Example: hae keys create --scope node | HAE_API_KEY=$(cat) hae node --wallet W1 --gpu-model "RTX 4090"
    """
    setup_logging(LogSettings(level=log_level), "node")
    config = NodeConfig(
        server_url=url,
        api_key=api_key,
        wallet=wallet,
        gpu_model=gpu_model,
        price_per_gpu_hour_hyper=price,
        gpus=gpus,
        vram_gb=vram_gb,
        capabilities=tuple(capability or ["inference"]),
        region=region,
        executor=executor,
        job_types=tuple(job_type or ()),
        grace_s=grace_s,
        openai=OpenAIConfig(base_url=openai_url, model=model),
    )
    code = uvloop.run(until_signalled(lambda stop: run_node(config, stop)))
    raise typer.Exit(code)
