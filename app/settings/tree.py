"""The settings tree: every setting with its type, range, default and meaning.

Only ``load`` checks ranges; a struct built by hand holds what it is given. Secrets are masked in every repr.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from app.settings.masking import mask

_DAY_S = 86_400
_WEEK_S = 7 * _DAY_S
_HTTP = ("https", "http")


def _range(meaning: str, low: float, high: float) -> Meta:
    return Meta(ge=low, le=high, description=meaning)


def _above_zero(meaning: str, high: float) -> Meta:
    return Meta(gt=0, le=high, description=meaning)


def _means(meaning: str) -> Meta:
    return Meta(description=meaning)


def _secret(meaning: str, *schemes: str) -> Meta:
    return Meta(description=meaning, extra={"secret": True, "schemes": schemes})


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A branch of the tree; its repr and ``redacted`` never hold a secret."""

    def redacted(self) -> dict[str, Any]:
        """The values as plain data, with every secret masked; URLs keep scheme and host."""
        secret = _secret_fields(type(self))
        return {
            name: mask(getattr(self, name)) if name in secret else _plain(getattr(self, name))
            for name in self.__struct_fields__
        }

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.redacted().items())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> Any:
        # msgspec's own would hand the secrets to rich's tracebacks.
        yield from self.redacted().items()


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.redacted()
    return [_plain(item) for item in value] if isinstance(value, list) else value


@cache
def _secret_fields(section: type[Section]) -> frozenset[str]:
    info = msgspec.inspect.type_info(section)
    assert isinstance(info, msgspec.inspect.StructType)
    return frozenset(
        each.name
        for each in info.fields
        if isinstance(each.type, msgspec.inspect.Metadata) and (each.type.extra or {}).get("secret")
    )


class ServerSettings(Section, frozen=True):
    host: Annotated[str, Meta(min_length=1, description="Address or name to listen on")] = "127.0.0.1"
    port: Annotated[int, _range("Port to listen on; 0 takes a free one", 0, 65_535)] = 3002
    drain_s: Annotated[
        float, _range("Seconds between being unready and closing, for balancers to notice; part of a shutdown", 0, 600)
    ] = 0.5
    grace_s: Annotated[float, _range("Seconds that open requests get to finish on shutdown", 0, 3600)] = 10.0
    api_key: Annotated[str, _secret("A key with all scopes, beside those of `hae keys`; empty = none")] = ""


class DatabaseSettings(Section, frozen=True):
    url: Annotated[str, _secret("PostgreSQL; empty = the embedded one", "postgresql", "postgres")] = ""
    direct_url: Annotated[
        str, _secret("PostgreSQL past PgBouncer, for locks that last; empty = url", "postgresql", "postgres")
    ] = ""
    pool_size: Annotated[int, _range("Connections a process keeps", 1, 1000)] = 10
    pool_timeout_s: Annotated[float, _above_zero("Seconds to wait for a free connection", 600)] = 5.0
    pgbouncer: Annotated[bool, _means("Whether the URL leads through PgBouncer in transaction mode")] = False


class RedisSettings(Section, frozen=True):
    url: Annotated[str, _secret("Valkey or Redis; empty = the embedded one", "redis", "rediss", "unix")] = ""


class WeightSettings(Section, frozen=True):
    reputation: Annotated[int, _range("Weight of the node's reputation in its score", 0, 1000)] = 40
    stake: Annotated[int, _range("Weight of the node's stake", 0, 1000)] = 10
    completion: Annotated[int, _range("Weight of the share of jobs it completed", 0, 1000)] = 25
    load: Annotated[int, _range("Weight of its free slots", 0, 1000)] = 15
    response: Annotated[int, _range("Weight of how fast it answers offers", 0, 1000)] = 10
    price: Annotated[int, _range("Share of the price in the ranking, in percent", 0, 100)] = 30


class MatchmakerSettings(Section, frozen=True):
    algorithm: Annotated[
        str,
        Meta(min_length=1, max_length=40),
        _means("Policy of jobs that name none; `hae policy list` knows them all"),
    ] = "reputation_weighted"
    min_reputation: Annotated[int, _range("The network's floor; jobs may ask for more", 0, 1000)] = 0
    top_n: Annotated[int, _range("Candidates kept with every match", 1, 100)] = 5
    weights: Annotated[WeightSettings, _means("The weights together, as a JSON object")] = field(
        default_factory=WeightSettings
    )
    refresh_s: Annotated[float, _above_zero("Seconds between refreshes of the view of the nodes", 60)] = 0.25


class JobsSettings(Section, frozen=True):
    offer_ttl_s: Annotated[float, _above_zero("Seconds a node has to answer an offer", 3600)] = 15.0
    run_timeout_s: Annotated[int, _range("Seconds a run may take, unless the job says", 1, _WEEK_S)] = 3600
    queue_ttl_s: Annotated[int, _range("Seconds to wait for a node, unless the job says", 1, _WEEK_S)] = 600
    max_retries: Annotated[int, _range("Runs after the first that a job may lose", 0, 100)] = 3
    cancel_grace_s: Annotated[
        float, _range("Seconds that a node has to stop a cancelled run, before its slots are free", 0, _DAY_S)
    ] = 10.0
    age_per_priority_s: Annotated[
        float,
        _above_zero("Seconds of waiting that count as much as one step of priority, so that nothing starves", _DAY_S),
    ] = 60.0
    max_active_per_key: Annotated[
        int, _range("Slots that the jobs of one API key may hold at once, unless the key says; 0 = any", 0, 1_000_000)
    ] = 0
    max_queued_per_key: Annotated[
        int, _range("Jobs of one API key that may wait at once, unless the key says; 0 = any", 0, 10_000_000)
    ] = 0
    poison_tries: Annotated[int, _range("Tries before a job that breaks its wave is parked", 1, 100)] = 5
    idempotency_ttl_s: Annotated[int, _range("Seconds an Idempotency-Key is kept", 60, 30 * _DAY_S)] = _DAY_S


class NodesSettings(Section, frozen=True):
    lease_s: Annotated[
        float,
        _above_zero("Seconds that a run stays its node's without a heartbeat or progress", _DAY_S),
    ] = 150.0
    offline_after_s: Annotated[float, _above_zero("Seconds of silence after which a node is offline", _DAY_S)] = 300.0
    default_price_hyper: Annotated[str, _means("HYPER per GPU-hour of a node that names no price")] = "0.1"
    heartbeat_flush_s: Annotated[float, _above_zero("Seconds that heartbeats are gathered per write", 60)] = 0.5
    heartbeat_interval_s: Annotated[
        float, _above_zero("Seconds between heartbeats, as told to nodes; less than offline_after_s", _DAY_S)
    ] = 60.0
    decline_penalty: Annotated[
        int, _range("Points off a node's reputation for a declined or missed offer", 0, 1000)
    ] = 20
    failure_penalty: Annotated[int, _range("Points off a node's reputation for a lost run", 0, 1000)] = 100
    penalty_half_life_s: Annotated[float, _above_zero("Seconds in which a penalty halves", _WEEK_S)] = 600.0
    breaker_failures: Annotated[int, _range("Runs lost in a row that suspend a node; 0 = never", 0, 1000)] = 5
    breaker_cooldown_s: Annotated[
        float, _above_zero("Seconds of a first suspension; each further one takes twice as long, at most a day", _DAY_S)
    ] = 60.0
    trial_jobs: Annotated[
        int, _range("Good jobs, one at a time, after which a node back from suspension gets all its slots", 0, 100)
    ] = 2


class WorkerSettings(Section, frozen=True):
    wave_size: Annotated[int, _range("Signals claimed for one wave at most", 1, 4096)] = 256
    poll_s: Annotated[float, _above_zero("Seconds between looks for work without a wake-up", 60)] = 0.5
    sweep_s: Annotated[float, _above_zero("Seconds between sweeps of what has run out", 60)] = 1.0


class EndpointSettings(Section, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=80, description="Unique name")]
    kind: Annotated[Literal["discord", "slack", "custom"], _means("Form of the messages")]
    url: Annotated[str, Meta(min_length=1), _secret("Where they are sent", *_HTTP)]
    secret: Annotated[str, _secret("whsec_… that signs them; for custom endpoints")] = ""
    events: Annotated[list[str], _means("Kinds of events sent; empty = all")] = []


class WebhooksSettings(Section, frozen=True):
    discord: Annotated[str, _secret("Discord webhook URL; empty = none", *_HTTP)] = ""
    slack: Annotated[str, _secret("Slack webhook URL; empty = none", *_HTTP)] = ""
    endpoints: Annotated[list[EndpointSettings], _means("Further receivers, see below")] = []
    allow_networks: Annotated[list[str], _means("Private networks (CIDR) that receivers may be in")] = []
    timeout_s: Annotated[float, _above_zero("Seconds a receiver has to answer", 120)] = 10.0
    concurrency: Annotated[int, _range("Deliveries under way at once", 1, 4096)] = 64
    poll_s: Annotated[float, _above_zero("Seconds between looks for due deliveries", 60)] = 0.5


class StreamsSettings(Section, frozen=True):
    per_key: Annotated[
        int, _range("Streams, server-sent and WebSocket, that one API key may have open in a process", 1, 1_000_000)
    ] = 250
    per_process: Annotated[int, _range("Streams that a process has open at most", 1, 1_000_000)] = 4000


class AgentsSettings(Section, frozen=True):
    plugins: Annotated[list[str], _means("Names of the agent plugins to load; empty = all that are installed")] = []


class RetentionSettings(Section, frozen=True):
    """Whole months are dropped, once all of a month is older than that."""

    history_days: Annotated[int, _range("Days that histories of jobs are kept; 0 = for ever", 0, 36_500)] = 0
    events_days: Annotated[int, _range("Days that events and their feed are kept; 0 = for ever", 0, 36_500)] = 90
    deliveries_days: Annotated[int, _range("Days that deliveries are kept; 0 = for ever", 0, 36_500)] = 30


class LogSettings(Section, frozen=True):
    level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        Meta(description="Least level that is logged", extra={"aliases": {"warn": "warning"}}),
    ] = "info"
    format: Annotated[Literal["auto", "json", "text"], _means("auto = text on a terminal, else json")] = "auto"


class SolanaSettings(Section, frozen=True):
    rpc_url: Annotated[str, _secret("JSON-RPC of the chain; empty = run without it", *_HTTP)] = ""
    ws_url: Annotated[str, _secret("WebSocket of the chain", "wss", "ws")] = ""
    node_registry_program_id: Annotated[str, _means("Program id of the node registry")] = ""
    job_receipt_program_id: Annotated[str, _means("Program id of the job receipts")] = ""
    payment_splitter_program_id: Annotated[str, _means("Program id of the payment splitter")] = ""


class ChainSettings(Section, frozen=True):
    fallback_rpc_url: Annotated[str, _secret("Further JSON-RPC, asked when the first does not answer", *_HTTP)] = ""
    hyper_mint: Annotated[str, _means("Mint of HYPER; payments are verified against it, none without it")] = ""
    treasury: Annotated[str, _means("Wallet that a payment's 10 % go to; empty = not checked")] = ""
    incentive_pool: Annotated[str, _means("Wallet that a payment's 5 % of incentives go to; empty = not checked")] = ""
    start_slot: Annotated[int, _range("Slot that a first scan goes back to; 0 = the program's first", 0, 2**62)] = 0
    spec_grace_s: Annotated[
        float, _range("Seconds that a job on chain waits for its spec, before it runs by defaults", 0, _DAY_S)
    ] = 60.0
    scan_s: Annotated[float, _above_zero("Seconds between scans that no notification asked for", 600)] = 2.0
    overlap_slots: Annotated[int, _range("Slots behind the cursor that every scan reads again", 0, 10_000)] = 64
    batch: Annotated[int, _range("Transactions fetched in one request; 1 where the node takes no batches", 1, 1000)] = (
        100
    )
    requests_per_s: Annotated[float, _range("Requests a second that a node allows; 0 = any number", 0, 100_000)] = 0.0
    timeout_s: Annotated[float, _above_zero("Seconds a node has to answer", 300)] = 10.0
    submit: Annotated[bool, _means("Whether to send assign_job and settle_job; needs keypair")] = False
    keypair: Annotated[str, _secret("File of the keypair that signs them, as solana-keygen makes it, or its JSON")] = ""


class Settings(Section, frozen=True):
    """All settings of one process. Fields in ``_s`` are seconds, ``_hyper`` decimal strings of HYPER."""

    server: ServerSettings = field(default_factory=ServerSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    matchmaker: MatchmakerSettings = field(default_factory=MatchmakerSettings)
    jobs: JobsSettings = field(default_factory=JobsSettings)
    nodes: NodesSettings = field(default_factory=NodesSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    webhooks: WebhooksSettings = field(default_factory=WebhooksSettings)
    streams: StreamsSettings = field(default_factory=StreamsSettings)
    agents: AgentsSettings = field(default_factory=AgentsSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    log: LogSettings = field(default_factory=LogSettings)
    solana: SolanaSettings = field(default_factory=SolanaSettings)
    chain: ChainSettings = field(default_factory=ChainSettings)
