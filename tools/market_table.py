"""The tools about the network and about what the caller may spend on it, as the registry holds them."""

from __future__ import annotations

from tools import lookups, market, reading_schemas, schemas
from tools.tool import Tool

_WANTS = {"type": "llm_inference", "gpu_models": ["A100", "RTX 4090"], "min_vram_gb": 24}

MARKET_TOOLS = (
    Tool(
        "match",
        "Show which node a job with these requirements would get now and why, without claiming it. Returns the "
        "best candidates with their score terms, counts the other nodes by the first requirement they fail, and says "
        "what change would help. Call submit_job to run the job.",
        schemas.Match,
        schemas.MatchAnswer,
        _WANTS,
        run=market.match,
    ),
    Tool(
        "availability",
        "Count the nodes that suit these requirements. Returns how many there are, how many have free GPUs now, and "
        "their prices in HYPER. Call quote for the cost of a job, or match for the node that it would get.",
        schemas.Availability,
        schemas.AvailabilityAnswer,
        _WANTS,
        run=market.availability,
    ),
    Tool(
        "quote",
        "Estimate what a job with these requirements would cost for duration_s seconds. Returns costs in HYPER, which "
        "bind nobody, and what is left of your budget today. Call submit_job to run the job.",
        schemas.Quote,
        schemas.QuoteAnswer,
        {**_WANTS, "duration_s": 600},
        run=market.quote,
    ),
    Tool(
        "get_budget",
        "Read what your API key may spend and do. Returns today's cap in HYPER, what is spent, held back for jobs "
        "under way and left, the cap of one job, and the tools, job types and numbers of jobs that it may have.",
        reading_schemas.GetBudget,
        reading_schemas.BudgetAnswer,
        {},
        run=lookups.get_budget,
    ),
    Tool(
        "network_metrics",
        "Read figures of the whole network. Returns counts of nodes and of jobs by state, the average duration, HYPER "
        "paid and the share of GPUs in use, at most two seconds old.",
        schemas.NetworkMetrics,
        schemas.MetricsAnswer,
        {},
        run=market.network_metrics,
    ),
)
