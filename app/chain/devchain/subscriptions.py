"""Subscriptions of one server's WebSockets, and which of them a happening on the chain concerns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from solders.account import Account
from solders.pubkey import Pubkey
from solders.signature import Signature

from app.chain.devchain.blocks import Block, Commitment
from app.chain.devchain.errors import METHOD_NOT_FOUND, RpcError, invalid_params
from app.chain.devchain.history import mentioned
from app.chain.devchain.methods.accounts import account_value, filters, reader
from app.chain.devchain.methods.transactions import appearance, shown_err
from app.chain.devchain.node import Node
from app.chain.devchain.params import Config, Params, as_pubkey
from app.chain.devchain.records import Landed, decode_logs

_NOTHING = Account(0, b"", Pubkey.default())


class Client(Protocol):
    """Who subscribes."""

    def notify(self, subscription: Subscription, result: Any) -> None:
        """Send a notification."""


@dataclass(eq=False, slots=True)
class Subscription:
    """``kind``: the method it was made with. ``key``: what it is about, None for everything."""

    number: int
    kind: str
    client: Client
    commitment: Commitment
    config: Config
    key: Pubkey | Signature | None = None
    last: Account | None = field(default=None, repr=False)

    @property
    def notification(self) -> str:
        return self.kind.removesuffix("Subscribe") + "Notification"


class Subscriptions:
    """All subscriptions. An observer of the chain."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._by_kind: dict[str, dict[int, Subscription]] = {kind: {} for kind in _KINDS}
        self._made = 0

    def __len__(self) -> int:
        return sum(len(group) for group in self._by_kind.values())

    def subscribe(self, client: Client, name: str, params: Any) -> Subscription:
        """Raises RpcError for unknown methods and wrong parameters."""
        make = _KINDS.get(name)
        if make is None:
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        self._made += 1
        made = make(self._node, self._made, client, Params(params))
        self._by_kind[name][made.number] = made
        return made

    def after_subscribing(self, made: Subscription) -> None:
        """Tell what has happened already; called once the client knows the subscription's number."""
        if made.kind == "signatureSubscribe" and isinstance(made.key, Signature):
            landed = self._node.chain.history.get(made.key)
            if landed is not None and landed.slot <= self._node.slot(made.commitment):
                self._tell_signature(made, landed, self._node.slot(made.commitment))

    def unsubscribe(self, client: Client, name: str, params: Any) -> bool:
        """Raises RpcError unless ``client`` has that subscription."""
        group = self._by_kind.get(name.replace("Unsubscribe", "Subscribe"))
        if group is None:
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        number = Params(params).integer(0)
        found = group.get(number)
        if found is None or found.client is not client:
            raise invalid_params("Invalid subscription id.")
        del group[number]
        return True

    def forget(self, client: Client) -> None:
        """Drop all subscriptions of a client that is gone."""
        for group in self._by_kind.values():
            for number in [number for number, each in group.items() if each.client is client]:
                del group[number]

    # Observing

    def on_slot(self, slot: int, parent: int, root: int) -> None:
        for each in self._of("slotSubscribe"):
            each.client.notify(each, {"slot": slot, "parent": parent, "root": root})

    def on_landed(self, landed: Landed) -> None:
        for each in self._of("signatureSubscribe"):
            if each.key == landed.signature and each.config.get("enableReceivedNotification"):
                each.client.notify(each, self._node.in_context(landed.slot, "receivedSignature"))
        self._transactions(Commitment.PROCESSED, [landed], landed.slot)
        if self._by_kind["accountSubscribe"] or self._by_kind["programSubscribe"]:
            self._accounts(Commitment.PROCESSED, set(mentioned(landed)), landed.slot)

    def on_processed(self, block: Block) -> None:
        # Accounts set by hand come with no transaction.
        if block.puts:
            self._accounts(Commitment.PROCESSED, {put.key for put in block.puts}, block.slot)

    def on_block(self, commitment: Commitment, block: Block) -> None:
        if commitment is Commitment.FINALIZED:
            for each in self._of("rootSubscribe"):
                each.client.notify(each, block.slot)
        self._transactions(commitment, block.landed, block.slot)
        self._accounts(commitment, self._node.chain.bank.changed(block.slot), block.slot)

    def _of(self, kind: str, commitment: Commitment | None = None) -> Iterator[Subscription]:
        for each in list(self._by_kind[kind].values()):
            if commitment in (None, each.commitment):
                yield each

    def _transactions(self, commitment: Commitment, landed: list[Landed], slot: int) -> None:
        if not landed:
            return
        waiting = {each.key: each for each in self._of("signatureSubscribe", commitment)}
        listening = list(self._of("logsSubscribe", commitment))
        if not waiting and not listening:
            return
        for one in landed:
            if one.signature in waiting:
                for each in self._of("signatureSubscribe", commitment):
                    if each.key == one.signature:
                        self._tell_signature(each, one, slot)
            if listening:
                self._tell_logs(listening, one, slot)

    def _tell_signature(self, subscription: Subscription, landed: Landed, slot: int) -> None:
        # It ends with its one notification.
        self._by_kind[subscription.kind].pop(subscription.number, None)
        subscription.client.notify(subscription, self._node.in_context(slot, {"err": shown_err(self._node, landed)}))

    def _tell_logs(self, listening: list[Subscription], landed: Landed, slot: int) -> None:
        keys = set(mentioned(landed)) if any(each.key is not None for each in listening) else set()
        concerned = [each for each in listening if each.key is None or each.key in keys]
        if concerned:
            meta, _ = appearance(self._node, landed)
            value = {
                "signature": str(landed.signature),
                "err": shown_err(self._node, landed),
                "logs": decode_logs(meta) or [],
            }
            for each in concerned:
                each.client.notify(each, self._node.in_context(slot, value))

    def _accounts(self, commitment: Commitment, changed: set[Pubkey], slot: int) -> None:
        bank = self._node.chain.bank
        read = reader(self._node, slot)
        for each in self._of("accountSubscribe", commitment):
            if isinstance(each.key, Pubkey) and each.key in changed:
                now = bank.account(each.key, slot)
                if now != each.last:
                    each.last = now
                    value = account_value(now or _NOTHING, each.config, read, strict=False)
                    each.client.notify(each, self._node.in_context(slot, value))
        for each in self._of("programSubscribe", commitment):
            keeps = filters(each.config)
            for key in sorted(changed, key=bytes):
                account = bank.account(key, slot)
                if account is not None and account.owner == each.key and keeps(account.data):
                    value = {"pubkey": str(key), "account": account_value(account, each.config, read, strict=False)}
                    each.client.notify(each, self._node.in_context(slot, value))


def _logs(node: Node, number: int, client: Client, params: Params) -> Subscription:
    wanted, config = params.at(0), params.config(1)
    key = None
    if isinstance(wanted, dict):
        mentions = wanted.get("mentions")
        if not isinstance(mentions, list) or len(mentions) != 1:
            raise invalid_params("Invalid Request: Only 1 address supported")
        key = as_pubkey(mentions[0])
    elif wanted not in ("all", "allWithVotes"):
        raise invalid_params('Invalid params: expected "all", "allWithVotes" or {"mentions": [address]}')
    return Subscription(number, "logsSubscribe", client, config.commitment(), config, key)


def _signature(node: Node, number: int, client: Client, params: Params) -> Subscription:
    config = params.config(1)
    return Subscription(number, "signatureSubscribe", client, config.commitment(), config, params.signature(0))


def _account(node: Node, number: int, client: Client, params: Params) -> Subscription:
    config, key = params.config(1), params.pubkey(0)
    made = Subscription(number, "accountSubscribe", client, config.commitment(), config, key)
    made.last = node.chain.bank.account(key, node.slot(made.commitment))
    _check(config)
    return made


def _check(config: Config) -> None:
    """Raise now what would be raised with the first notification."""
    account_value(_NOTHING, config, lambda key: None)


def _program(node: Node, number: int, client: Client, params: Params) -> Subscription:
    config = params.config(1)
    _check(config)
    filters(config)
    return Subscription(number, "programSubscribe", client, config.commitment(), config, params.pubkey(0))


def _everything(kind: str) -> Callable[[Node, int, Client, Params], Subscription]:
    return lambda node, number, client, params: Subscription(number, kind, client, Commitment.PROCESSED, Config({}))


_KINDS: dict[str, Callable[[Node, int, Client, Params], Subscription]] = {
    "logsSubscribe": _logs,
    "signatureSubscribe": _signature,
    "accountSubscribe": _account,
    "programSubscribe": _program,
    "slotSubscribe": _everything("slotSubscribe"),
    "rootSubscribe": _everything("rootSubscribe"),
}
