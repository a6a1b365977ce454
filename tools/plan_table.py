"""The table of the tools about plans."""

from __future__ import annotations

from tools import plan_schemas, plans
from tools.tool import Tool

_PLAN = {"plan_id": "plan_01jd3k5m7p9r1t3v5x7z9b1d3f"}

PLAN_TOOLS = (
    Tool(
        "submit_plan",
        "Submit many GPU jobs that belong together: a graph of tasks within a budget. Returns a plan_id at once; call "
        "get_plan to follow it. A task may run once for each item of a list, and use results of other tasks by "
        "references such as {{tasks.split.result}}. Send dry_run=true first to see what it would cost.",
        plan_schemas.SubmitPlan,
        plan_schemas.PlanAnswer,
        {
            "name": "sum up three pages",
            "budget_hyper": "2.5",
            "max_price_per_gpu_hour_hyper": "0.5",
            "tasks": [
                {
                    "task_id": "read",
                    "for_each": ["page 1", "page 2", "page 3"],
                    "job": {"type": "llm_inference", "model": "qwen-7b", "prompt": "Sum up {{item}}", "timeout_s": 300},
                },
                {
                    "task_id": "join",
                    "job": {
                        "type": "llm_inference",
                        "model": "qwen-7b",
                        "prompt": "Join {{tasks.read.results}}",
                        "timeout_s": 300,
                    },
                },
            ],
        },
        run=plans.submit_plan,
        read_only=False,
        idempotent=False,
        open_world=True,
    ),
    Tool(
        "get_plan",
        "Read how far one of your plans is. Returns its tasks by state, what it has cost, what jobs under way may cost "
        "yet, and a forecast, at once or after up to wait_s seconds (45 at most) of waiting for its end. Call get_plan "
        "again while final is false.",
        plan_schemas.GetPlan,
        plan_schemas.PlanAnswer,
        {**_PLAN, "wait_s": 45},
        run=plans.get_plan,
        waits=True,
    ),
    Tool(
        "list_plans",
        "List your plans, newest first. Returns a page of them with their progress and what they have cost, and a "
        "next_cursor for the page after it. Call get_plan for the tasks of one.",
        plan_schemas.ListPlans,
        plan_schemas.PlanPage,
        {"limit": 20},
        run=plans.list_plans,
    ),
    Tool(
        "cancel_plan",
        "Cancel one of your plans by its plan_id, and every job of it that is not over. Returns the plan; while that "
        "is not final yet, call get_plan. What has already run is paid for, and a plan that is over stays as it is.",
        plan_schemas.CancelPlan,
        plan_schemas.PlanAnswer,
        _PLAN,
        run=plans.cancel_plan,
        read_only=False,
        destructive=True,
        waits=True,
    ),
)
