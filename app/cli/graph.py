"""`hae graph`: the state graphs and the transition tables as Mermaid."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from app.core.plans import PLAN_MOVES, UNIT_MOVES
from app.core.states import JOB_MOVES, NODE_MOVES, OFFER_MOVES, SETTLEMENT_MOVES, mermaid
from graphs.drawing import drawing


class Drawing(StrEnum):
    ALL = "all"
    JOB = "job"
    PLAN = "plan"
    AGENT = "agent"
    STATES = "states"


def add_to(cli: typer.Typer) -> None:
    cli.command()(graph)


def graph(which: Annotated[Drawing, typer.Argument(help="What to draw")] = Drawing.ALL) -> None:
    """Print the compiled graphs as Mermaid: the life of a job and of a plan, an agent's request, the state machines."""
    parts: list[tuple[str, str]] = []
    if which in (Drawing.ALL, Drawing.JOB):
        parts.append(("The life of a job (graphs/job.py), run once a wave", drawing("job")))
    if which in (Drawing.ALL, Drawing.PLAN):
        parts.append(("The life of a plan (graphs/plan.py), run once a wave", drawing("plan")))
    if which in (Drawing.ALL, Drawing.AGENT):
        parts.append(("An agent's request (graphs/agent.py)", drawing("agent")))
    if which is Drawing.STATES:
        parts += [
            ("Job states", mermaid(JOB_MOVES)),
            ("Offer states", mermaid(OFFER_MOVES)),
            ("Node states", mermaid(NODE_MOVES)),
            ("Settlement states", mermaid(SETTLEMENT_MOVES)),
            ("Plan states", mermaid(PLAN_MOVES)),
            ("States of a plan's units", mermaid(UNIT_MOVES)),
        ]
    for title, body in parts:
        print(f"%% {title}\n{body}\n" if len(parts) > 1 else body)
