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
from app.store.tables.jobs import Job, JobCount, JobHistory, MatchDecision, Offer, Result, Schedule
from app.store.tables.messaging import Consumer, Delivery, Event, FeedEntry, Signal
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
    "Consumer",
    "Delivery",
    "Event",
    "FeedEntry",
    "IdempotencyKey",
    "Job",
    "JobCount",
    "JobHistory",
    "MatchDecision",
    "Node",
    "NodeHeartbeat",
    "NodeHistory",
    "Offer",
    "Result",
    "Schedule",
    "SettlementHistory",
    "Signal",
    "Spec",
]
