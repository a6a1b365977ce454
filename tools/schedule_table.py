"""The tools about recurring jobs, as the registry holds them."""

from __future__ import annotations

from tools import schedule_schemas, schedules
from tools.tool import Tool

_SCHEDULE = {"schedule_id": "sched_01jd3k5m7p9r1t3v5x7z9b1d3f"}

SCHEDULE_TOOLS = (
    Tool(
        "create_schedule",
        "Submit a job again and again, whenever a cron expression is due in a time zone. Returns a schedule_id and "
        "the next five times. Use overlap=skip to make no job while the last one is not over. Call list_schedules for "
        "the jobs it has made.",
        schedule_schemas.CreateSchedule,
        schedule_schemas.ScheduleAnswer,
        {
            "job": {"type": "llm_inference", "model": "qwen-7b", "prompt": "Sum up the news"},
            "cron": "0 9 * * mon-fri",
            "timezone": "Europe/Berlin",
        },
        run=schedules.create_schedule,
        read_only=False,
        idempotent=False,
        open_world=True,
    ),
    Tool(
        "list_schedules",
        "List your schedules, newest first. Returns a page of them with their next times, the last job of each and "
        "what went wrong, and a next_cursor for the page after it.",
        schedule_schemas.ListSchedules,
        schedule_schemas.SchedulePage,
        {"limit": 20},
        run=schedules.list_schedules,
    ),
    Tool(
        "change_schedule",
        "Change one of your schedules by its schedule_id, pause it (paused: true) or resume it (paused: false). "
        "Returns the schedule as it is then. What is left out stays as it is.",
        schedule_schemas.ChangeSchedule,
        schedule_schemas.ScheduleAnswer,
        {**_SCHEDULE, "paused": True},
        run=schedules.change_schedule,
        read_only=False,
    ),
    Tool(
        "delete_schedule",
        "End one of your schedules by its schedule_id. Returns that it is deleted; the jobs that it made go on, and "
        "cancel_jobs with a filter of schedule_id ends them.",
        schedule_schemas.DeleteSchedule,
        schedule_schemas.ScheduleDeleted,
        _SCHEDULE,
        run=schedules.delete_schedule,
        read_only=False,
        idempotent=False,
        destructive=True,
    ),
)
