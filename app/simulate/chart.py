"""The picture of one or several runs: utilisation and backlog over time, and how long jobs waited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.simulate.results import Outcome


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write a PNG to ``path``; runs are told apart by their policies. Raises OSError where it cannot be written."""
    # Loading it takes longer than a small simulation.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 9), layout="constrained")
    FigureCanvasAgg(figure)
    usage, queue, waits = figure.subplots(3, 1)
    for each in outcomes:
        curves = each.figures["over_time"]
        hours = (np.arange(len(curves["queue"])) + 0.5) * curves["bucket_s"] / 3600
        usage.plot(hours, curves["utilisation_pct"], label=each.policy)
        queue.plot(hours, curves["queue"], label=each.policy)
        if len(each.waits):
            share = 100 * np.arange(1, len(each.waits) + 1) / each.figures["jobs"]["counted"]
            waits.step(np.maximum(each.waits, 1) / 1000, share, where="post", label=each.policy)
    usage.set(ylabel="slots in use, %", xlabel="hours", ylim=(0, None))
    queue.set(ylabel="jobs waiting", xlabel="hours", ylim=(0, None))
    waits.set(ylabel="jobs placed, %", xlabel="seconds waited, at most", xscale="log", ylim=(0, 101))
    first = outcomes[0].figures
    usage.set_title(
        f"{first['nodes']:,} nodes, {first['jobs']['counted']:,} jobs, {first['source']}, seed {first['seed']}"
    )
    for axes in (usage, queue, waits):
        axes.grid(alpha=0.3)
    usage.legend()
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
