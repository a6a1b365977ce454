"""SQLModel tables, one file an aggregate. They define the schema for migrations and never leave store and services."""

from app.store.tables.access import ApiKey, IdempotencyKey
from app.store.tables.chain import (
    ChainCursor,
    ChainEvent,
    ChainJob,
    ChainLeader,
    ChainNode,
    ChainOutgoing,
    ChainPage,
    ChainPayment,
    ChainQuarantine,
    SettlementHistory,
    Spec,
)
from app.store.tables.jobs import Job, JobHistory, MatchDecision, Offer, Result
from app.store.tables.messaging import Delivery, Event, Outbox, Signal
from app.store.tables.nodes import Node, NodeHeartbeat, NodeHistory

__all__ = [
    "ApiKey",
    "ChainCursor",
    "ChainEvent",
    "ChainJob",
    "ChainLeader",
    "ChainNode",
    "ChainOutgoing",
    "ChainPage",
    "ChainPayment",
    "ChainQuarantine",
    "Delivery",
    "Event",
    "IdempotencyKey",
    "Job",
    "JobHistory",
    "MatchDecision",
    "Node",
    "NodeHeartbeat",
    "NodeHistory",
    "Offer",
    "Outbox",
    "Result",
    "SettlementHistory",
    "Signal",
    "Spec",
]
