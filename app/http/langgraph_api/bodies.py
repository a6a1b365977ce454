"""What requests of the LangGraph-style API carry.

Fields that ask for something this graph does not have are there to be refused by name; those that cannot change what a
run does (as ``durability``) are taken and left alone.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from app.core.errors import InvalidInput
from app.http.body import Input
from app.http.langgraph_api.events import MODES

ThreadId = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", description="A UUID")]
Metadata = dict[str, Any]
Strategy = Literal["reject", "enqueue", "interrupt", "rollback"]
Status = Literal["pending", "running", "success", "error", "timeout", "interrupted"]
Page = Annotated[int, Meta(ge=1, le=1000)]
Skipped = Annotated[int, Meta(ge=0, le=1_000_000)]

_NOT_HERE = {
    "command": "this graph never stops to be resumed: send input",
    "checkpoint": "a run starts from the last state of its thread",
    "checkpoint_id": "a run starts from the last state of its thread",
    "interrupt_before": "this graph does not stop between its nodes",
    "interrupt_after": "this graph does not stop between its nodes",
    "webhook": "what happens to jobs is told by this engine's own webhooks and streams",
    "after_seconds": "a run starts at once; a job may start later, by its delay_s",
}


class CreateRun(Input, kw_only=True):
    """A run to be made; see the fields of ``client.runs.create``."""

    assistant_id: Annotated[str, Meta(min_length=1, max_length=60)]
    input: Any = None
    stream_mode: str | list[str] = "values"
    metadata: Metadata = {}
    multitask_strategy: Strategy = "enqueue"
    if_not_exists: Literal["reject", "create"] = "reject"
    on_disconnect: Literal["continue", "cancel"] = "continue"
    on_completion: Literal["delete", "keep"] = "delete"
    command: Any = None
    checkpoint: Any = None
    checkpoint_id: Any = None
    interrupt_before: Any = None
    interrupt_after: Any = None
    webhook: Any = None
    after_seconds: Any = None
    config: Any = None
    context: Any = None
    stream_subgraphs: Any = None
    stream_resumable: Any = None
    feedback_keys: Any = None
    checkpoint_during: Any = None
    durability: Any = None
    strict_resume: Any = None
    langsmith_tracer: Any = None

    def check(self) -> None:
        """Raises InvalidInput on what this graph cannot do."""
        for name, why in _NOT_HERE.items():
            if getattr(self, name):
                raise InvalidInput(f"{name} is not supported: {why}", field=name, next_action=f"Leave {name} out.")
        modes_of(self.stream_mode)


class CreateThread(Input, kw_only=True):
    thread_id: ThreadId | None = None
    metadata: Metadata | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"
    ttl: Any = None
    supersteps: Any = None

    def check(self) -> None:
        """Raises InvalidInput on what threads do not have here."""
        for name in ("ttl", "supersteps"):
            if getattr(self, name):
                raise InvalidInput(f"{name} is not supported", field=name, next_action=f"Leave {name} out.")


class ChangeThread(Input, kw_only=True):
    metadata: Metadata
    ttl: Any = None


class SearchThreads(Input, kw_only=True):
    metadata: Metadata = {}
    ids: Annotated[list[str], Meta(max_length=1000)] | None = None
    status: Literal["idle", "busy", "interrupted", "error"] | None = None
    limit: Page = 10
    offset: Skipped = 0
    sort_by: Literal["thread_id", "status", "created_at", "updated_at"] = "created_at"
    sort_order: Literal["asc", "desc"] = "desc"
    select: list[str] | None = None


class CountThreads(Input, kw_only=True):
    metadata: Metadata = {}
    status: Literal["idle", "busy", "interrupted", "error"] | None = None


class ReadHistory(Input, kw_only=True):
    """``before``: a checkpoint, or its id; states older than that one."""

    limit: Page = 10
    before: str | dict[str, Any] | None = None
    select: list[str] | None = None


class ReadState(Input, kw_only=True):
    checkpoint: dict[str, Any]
    subgraphs: bool = False
    select: list[str] | None = None


class CancelRuns(Input, kw_only=True):
    thread_id: ThreadId | None = None
    run_ids: Annotated[list[str], Meta(max_length=1000)] = []
    status: Literal["pending", "running", "all"] | None = None


class SearchAssistants(Input, kw_only=True):
    metadata: Metadata = {}
    graph_id: str | None = None
    name: str | None = None
    limit: Page = 10
    offset: Skipped = 0
    sort_by: str | None = None
    sort_order: str | None = None
    select: list[str] | None = None


class CountAssistants(Input, kw_only=True):
    metadata: Metadata = {}
    graph_id: str | None = None
    name: str | None = None


def modes_of(given: str | list[str]) -> list[str]:
    """The stream modes that are asked for. Raises InvalidInput on those that there are not."""
    modes = [given] if isinstance(given, str) else given
    for mode in modes:
        if mode not in MODES:
            why = "no language model speaks here" if mode.startswith("messages") else "there is nothing to tell in it"
            raise InvalidInput(
                f"stream mode {mode[:40]!r} is not supported: {why}",
                field="stream_mode",
                next_action=f"Take some of {', '.join(MODES)}.",
            )
    return modes
