"""SQLModel tables, one file an aggregate. They define the schema for migrations and never leave store and services."""

from app.store.tables.access import ApiKey, IdempotencyKey, KeySpending
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
from app.store.tables.plans import Plan, PlanHistory, PlanSignal, PlanUnit
from app.store.tables.subscriptions import AgentHook
from app.store.tables.threads import AgentRun, AgentThread

__all__ = [
    "AgentHook",
    "AgentRun",
    "AgentThread",
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
    "KeySpending",
    "MatchDecision",
    "Node",
    "NodeHeartbeat",
    "NodeHistory",
    "Offer",
    "Plan",
    "PlanHistory",
    "PlanSignal",
    "PlanUnit",
    "Result",
    "Schedule",
    "SettlementHistory",
    "Signal",
    "Spec",
]
