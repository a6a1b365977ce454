"""Who is calling: an API key's account and scopes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.core.errors import Forbidden


class Scope(StrEnum):
    """What a key may do."""

    AGENT = "agent"
    """Submit and follow jobs of its account."""
    NODE = "node"
    """Run jobs on nodes of its account."""
    OPERATOR = "operator"
    """Run the network: every account's jobs, standing of nodes, messages to webhooks."""
    WEBHOOK = "webhook"
    """Call tools by signed message, without sending the key: the secret that signs follows from the key."""


FOLLOWING = ("watch_job", "wait_job")
"""Tools that tell of events: a key that may call neither has no business with the feed, streams and hooks."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What a key may do within its scopes. ``tools``: that it may call, ``job_types``: that it may submit; empty = all.

    ``cap_day`` and ``cap_job``: what its jobs may cost in a UTC day and each, base units of HYPER; None = any amount.
    """

    tools: frozenset[str] = frozenset()
    job_types: frozenset[str] = frozenset()
    cap_day: int | None = None
    cap_job: int | None = None

    def may_call(self, tool: str) -> bool:
        """Whether the tool is among those that the key may call."""
        return not self.tools or tool in self.tools

    def require_tool(self, tool: str) -> None:
        """Raise Forbidden unless the key may call the tool, naming those that it may."""
        if not self.may_call(tool):
            raise Forbidden(
                f"this API key may not call {tool[:60]}",
                code="tool_not_allowed",
                next_action=f"It may call {', '.join(sorted(self.tools))}; operators change that with: hae keys set",
            )

    def require_following(self) -> None:
        """Raise Forbidden unless the key may follow what happens to jobs: by either of the tools that do."""
        if not any(map(self.may_call, FOLLOWING)):
            self.require_tool(FOLLOWING[0])

    def require_job_type(self, job_type: str) -> None:
        """Raise Forbidden unless the key may submit such jobs, naming the types that it may."""
        if self.job_types and job_type not in self.job_types:
            raise Forbidden(
                f"this API key may not submit jobs of type {job_type[:60]}",
                code="job_type_not_allowed",
                field="type",
                next_action=f"It may submit {', '.join(sorted(self.job_types))}; operators change that with: "
                "hae keys set",
            )


ALL = Rights()


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller. ``account`` owns jobs and nodes; several keys may share one."""

    key_id: str
    account: str
    scopes: frozenset[str]
    rights: Rights = ALL

    def require(self, *scopes: Scope) -> None:
        """Raise Forbidden unless the key holds one of ``scopes``."""
        if not any(scope.value in self.scopes for scope in scopes):
            names = " or ".join(scopes)
            raise Forbidden(
                f"this needs an API key with scope {names}",
                next_action=f"Ask the operator for one: hae keys create --scope {scopes[0]}",
            )

    @property
    def sees(self) -> str | None:
        """The account whose jobs this caller may see; None = all (operators)."""
        return None if Scope.OPERATOR in self.scopes else self.account
