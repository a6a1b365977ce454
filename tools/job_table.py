"""The tools about jobs, as the registry holds them."""

from __future__ import annotations

from tools import jobs, lookups, many_schemas, reading_schemas, schemas
from tools.tool import Tool

JOB = {"job_id": "job_01jd3k5m7p9r1t3v5x7z9b1d3f"}

JOB_TOOLS = (
    Tool(
        "submit_job",
        "Submit one GPU job to the network. Returns a job_id at once; the job is then matched to a node and run. "
        "Call wait_job with that job_id for the result. Send an idempotency_key to make retries safe. Under a budget, "
        "give max_price_per_gpu_hour_hyper.",
        schemas.SubmitJob,
        schemas.SubmitAnswer,
        {
            "type": "llm_inference",
            "model": "qwen-7b",
            "prompt": "Explain quantum computing",
            "min_vram_gb": 16,
        },
        run_many=jobs.submit_many,
        read_only=False,
        idempotent=False,
        open_world=True,
    ),
    Tool(
        "submit_jobs",
        "Submit up to 1000 GPU jobs in one call. Returns one result a job, in order: a job_id, or the problem that "
        "kept that one out; the others are submitted all the same. Give each job an idempotency_key of its own. Call "
        "wait_job or list_jobs to follow them.",
        many_schemas.SubmitJobs,
        many_schemas.SubmitJobsAnswer,
        {
            "jobs": [
                {"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain quantum computing"},
                {"type": "render", "input": {"scene": "s3://scenes/1"}, "delay_s": 600},
            ]
        },
        run=jobs.submit_jobs,
        read_only=False,
        idempotent=False,
        open_world=True,
    ),
    Tool(
        "get_job",
        "Read the present state of one of your jobs. Returns it with its result once it is completed, and does not "
        "wait. Call wait_job instead to wait for the end.",
        schemas.GetJob,
        schemas.JobAnswer,
        JOB,
        run=jobs.get_job,
    ),
    Tool(
        "list_jobs",
        "List your jobs, newest first, by state or type if need be. Returns a page of jobs without their results, and "
        "a next_cursor for the page after it. Call get_job for one of them in full.",
        reading_schemas.ListJobs,
        reading_schemas.JobPage,
        {"state": ["pending", "running"], "limit": 20},
        run=lookups.list_jobs,
    ),
    Tool(
        "wait_job",
        "Wait up to wait_s seconds (45 at most) for a job to end. Always returns its state, with the result if it is "
        "completed. Call wait_job again while final is false.",
        reading_schemas.WaitJob,
        schemas.JobAnswer,
        {**JOB, "wait_s": 30},
        run=jobs.wait_job,
        waits=True,
    ),
    Tool(
        "watch_job",
        "Watch a job for up to wait_s seconds (45 at most): until it ends or, with until=change, until anything about "
        "it is newer than seen_version. Always returns its state. Call wait_job if only the end matters.",
        schemas.WatchJob,
        schemas.JobAnswer,
        {**JOB, "wait_s": 30, "until": "change"},
        run=jobs.watch_job,
        waits=True,
    ),
    Tool(
        "job_history",
        "Tell what became of one of your jobs and why. Returns every change of its state with the reason and who made "
        "it, oldest first, and in words why its node was chosen, or why no node was found.",
        reading_schemas.ReadHistory,
        reading_schemas.HistoryAnswer,
        JOB,
        run=lookups.job_history,
    ),
    Tool(
        "cancel_job",
        "Cancel one of your jobs by its job_id. Returns its state; while that is not final yet, call wait_job. A job "
        "that is already over stays as it is.",
        schemas.CancelJob,
        schemas.JobAnswer,
        JOB,
        run=jobs.cancel_job,
        read_only=False,
        destructive=True,
        waits=True,
    ),
    Tool(
        "cancel_jobs",
        "Cancel many of your jobs: those named by job_ids, or all that meet the conditions of filter, up to 1000 a "
        "call. Returns which were asked to end; they end a moment later. Call again while more is true. Jobs that are "
        "already over stay as they are.",
        many_schemas.CancelJobs,
        many_schemas.CancelJobsAnswer,
        {"filter": {"state": ["pending"], "type": ["render"]}},
        run=jobs.cancel_jobs,
        read_only=False,
        destructive=True,
    ),
    Tool(
        "rerun_job",
        "Run a job that is over once more: the same request under a new job_id. Returns that job_id; call wait_job "
        "with it. Priority, time-outs and retries may be changed. Send an idempotency_key to make retries safe.",
        many_schemas.RerunJob,
        schemas.SubmitAnswer,
        {**JOB, "priority": 5},
        run=jobs.rerun_job,
        read_only=False,
        idempotent=False,
        open_world=True,
    ),
)
