"""How long one request is pursued: so many tries, so much time, and what has been learnt on the way."""

from __future__ import annotations

from app.chain.rpc.endpoints import Lane
from app.chain.rpc.errors import RpcError, RpcUnavailable
from app.chain.rpc.trouble import Trouble

_DOUBTS = 3


class Effort:
    """Begins anew whenever something was achieved. Times are seconds of one monotonic clock."""

    def __init__(self, tries: int, patience_s: float, now: float) -> None:
        self._tries = tries
        self._patience_s = patience_s
        self._doubts: dict[int, int] = {}
        self._reasons: dict[str, str] = {}
        self.avoided: set[Lane] = set()
        """Those that failed at this request: others first, even when they need no rest, or a short one."""
        self.renew(now)

    def renew(self, now: float) -> None:
        """Something was answered."""
        self.tried = 0
        self.deadline = now + self._patience_s

    def extend(self, seconds: float) -> None:
        """Time that went to our own rate budget is not the endpoints' fault."""
        self.deadline += seconds

    def note(self, lane: Lane, trouble: Trouble) -> None:
        """Remember it for the error message."""
        self._reasons[lane.name] = trouble.reason

    def spend(self, now: float) -> None:
        """One try more came to nothing. Raises RpcUnavailable when it was the last."""
        self.tried += 1
        if self.tried >= self._tries or now >= self.deadline:
            raise self.failure()

    def verdict(self, item: int, trouble: Trouble) -> RpcError | None:
        """The error to settle for after nodes have failed at ``item`` often enough, None to go on."""
        if trouble.error is None:
            return None
        self._doubts[item] = self._doubts.get(item, 0) + 1
        return trouble.error if self._doubts[item] >= min(_DOUBTS, self._tries) else None

    def failure(self, retry_after: float | None = None) -> RpcUnavailable:
        """What to raise when it is given up."""
        said = "; ".join(f"{name}: {reason}" for name, reason in self._reasons.items())
        return RpcUnavailable(f"no Solana RPC endpoint answered ({said or 'all are resting'})", retry_after=retry_after)
