"""Agents' hooks as the dispatcher sees them: endpoints that come and go, read anew when something is due to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from app.core.deliveries import Delivery, Event, Hook, WaitingHook
from app.core.errors import InvalidInput
from app.webhooks import a2a, signing
from app.webhooks.endpoints import Endpoint
from app.webhooks.sender import Sender

SIGNED_SCHEME: Final = "standard-webhooks"
"""The authentication scheme of an A2A push configuration whose credentials are a ``whsec_`` secret to sign with."""
EXAMPLE: Final = '{"url": "https://agent.example/hooks/hae", "kinds": ["job_completed", "job_failed"]}'

_LOOKED_AT = 200
_WIDE = 8
"""Sends to one hook at once; to that of a single job or plan one, so that its events come in their order."""


@dataclass(frozen=True)
class HookEndpoint(Endpoint):
    """The receiver of a hook. ``account`` owns it; ``sent_along``: headers, credentials as they may be."""

    account: str = ""
    single: bool = False
    a2a_context: str | None = None
    sent_along: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, hook: Hook) -> HookEndpoint:
        """Raises InvalidInput, naming the field, on a hook that cannot work."""
        along: dict[str, str] = {}
        if hook.form == "a2a":
            if hook.token:
                along[a2a.TOKEN_HEADER] = hook.token
            if hook.options.get("scheme") and hook.options.get("credentials"):
                along["Authorization"] = f"{hook.options['scheme']} {hook.options['credentials']}"
        return cls(
            name=hook.endpoint,
            kind="custom",
            url=hook.url,
            secret=hook.secret,
            account=hook.account,
            single=bool(hook.subject),
            a2a_context=hook.options.get("context_id", "") if hook.form == "a2a" else None,
            sent_along=along,
        )

    def body(self, event: Event) -> bytes:
        return super().body(event) if self.a2a_context is None else a2a.build(event, self.a2a_context)

    def headers(self) -> Mapping[str, str]:
        return self.sent_along

    def _check_name(self) -> None:
        """Made by the engine."""

    def _check_secret(self) -> None:
        for secret in self.secrets:
            try:
                signing.decode_secret(secret)
            except InvalidInput as error:
                raise self._bad("secret", error.detail) from None

    def _bad(self, field_name: str, detail: str) -> InvalidInput:
        return InvalidInput(detail, field=field_name, next_action=f"A valid hook: {EXAMPLE}")


class HookStore(Protocol):
    """Where deliveries to hooks are kept. Each method is one transaction."""

    async def waiting_hooks(self, after: str, busy: Sequence[str], limit: int) -> list[WaitingHook]:
        """Up to ``limit`` hooks with something due, in the order of their endpoints from behind ``after``; not the
        ``busy``."""
        ...

    async def claim_hooks(self, endpoints: Sequence[str], each: int, lease_s: float) -> list[Delivery]:
        """Up to ``each`` due deliveries of each of these endpoints, as ``DeliveryStore.claim`` has it."""
        ...

    async def give_up_hooks(self, endpoints: Sequence[str], reason: str) -> None:
        """Give up what is due for these endpoints."""
        ...


class HookLane:
    """Takes turns over all hooks that something is due to, few queries a round however many there are.

    Nobody gets more than half of the room by having many hooks: ``room`` is shared by accounts.
    """

    def __init__(self, store: HookStore, sender: Sender) -> None:
        self._store = store
        self._sender = sender
        self._after = ""
        self._room = max(1, sender.limits.concurrency * 3 // 4)
        self.maybe_due = True

    async def claim(self, sending: Iterable[Endpoint], room: int, lease_s: float) -> list[tuple[Endpoint, Delivery]]:
        """What is to be sent now, with its endpoint. ``sending``: the endpoints of what is under way; ``room``: how
        much more may be."""
        if not self.maybe_due:
            return []
        under_way = [endpoint for endpoint in sending if isinstance(endpoint, HookEndpoint)]
        room = min(room, self._room - len(under_way))
        if room <= 0:
            return []
        busy = sorted({endpoint.name for endpoint in under_way})
        waiting = await self._store.waiting_hooks(self._after, busy, _LOOKED_AT)
        # The end of the round trip: the next look begins at the top. Something may be due there already.
        self.maybe_due = bool(waiting or self._after or under_way)
        self._after = waiting[-1].endpoint if len(waiting) == _LOOKED_AT else ""
        chosen = self._chosen(await self._usable(waiting), under_way, room)
        claimed: list[Delivery] = []
        for single in (True, False):
            names = [endpoint.name for endpoint in chosen.values() if endpoint.single is single]
            if names:
                each = 1 if single else max(1, min(_WIDE, room // len(chosen)))
                claimed += await self._store.claim_hooks(names, each, lease_s)
        return [(chosen[delivery.endpoint], delivery) for delivery in claimed]

    async def _usable(self, waiting: Sequence[WaitingHook]) -> list[HookEndpoint]:
        """Those that may be sent to now; what is due for hooks that are not any more is given up."""
        lost: dict[str, list[str]] = {}
        found = []
        for one in waiting:
            if one.hook is None:
                lost.setdefault("the hook was deleted", []).append(one.endpoint)
            elif one.revoked:
                lost.setdefault("the API key that made the hook was revoked", []).append(one.endpoint)
            elif one.hook.error is not None:
                lost.setdefault("the hook was ended after failures", []).append(one.endpoint)
            else:
                try:
                    endpoint = HookEndpoint.of(one.hook)
                except InvalidInput as error:
                    # Taken by an earlier version, or changed by hand: it must not stop the others.
                    lost.setdefault(f"the hook is not valid: {error.field}", []).append(one.endpoint)
                    continue
                if self._sender.wait_s(endpoint) <= 0:
                    found.append(endpoint)
        for reason, endpoints in lost.items():
            await self._store.give_up_hooks(endpoints, reason)
        return found

    def _chosen(
        self, found: Sequence[HookEndpoint], under_way: Sequence[HookEndpoint], room: int
    ) -> dict[str, HookEndpoint]:
        """By name, ``room`` of them at most, those of the accounts with the fewest sends under way first."""
        most = max(1, self._room // 2)
        taken = Counter(endpoint.account for endpoint in under_way)
        ranked = []
        for endpoint in found:
            taken[endpoint.account] += 1
            if taken[endpoint.account] <= most:
                ranked.append((taken[endpoint.account], endpoint))
        ranked.sort(key=lambda one: one[0])
        return {endpoint.name: endpoint for _, endpoint in ranked[:room]}
