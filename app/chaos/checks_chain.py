"""Payments: what the engine made of the chain, against the finalized chain itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from app.demo.onchain import ChainLedger
from app.services.audit import ChainRecord


def payments(ledger: ChainLedger, record: ChainRecord) -> Iterator[str]:
    """Every event and payment on chain is stored once and as it is, and none that is not there."""
    on_chain = {event.key: event for event in ledger.events}
    stored = Counter(event.key for event in record.events)
    for event in record.events:
        there = on_chain.get(event.key)
        if there is None or (there.name, there.slot) != (event.name, event.slot):
            yield f"strange_event: {event.name} {event.key[0]} of slot {event.slot} is stored, and not on chain"
        elif event.commitment != "finalized":
            yield f"unfinal_event: {event.name} {event.key[0]} is final on chain, and {event.commitment} here"
        if stored[event.key] > 1:
            yield f"doubled_event: {event.name} {event.key[0]} is stored {stored[event.key]} times"
    for key in on_chain.keys() - stored.keys():
        yield f"missing_event: {on_chain[key].name} {key[0]} of slot {on_chain[key].slot} is not stored"
    said = {event.key: event.amounts for event in ledger.events if event.amounts}
    paid = {payment.key: payment.amounts for payment in record.payments}
    for key in said.keys() | paid.keys():
        if said.get(key) != paid.get(key):
            yield f"wrong_payment: {key[0]} paid {said.get(key)} on chain, and {paid.get(key)} are stored"
    if len(record.payments) > len(paid):
        yield f"doubled_payment: {len(record.payments)} payments are stored for {len(paid)} events"
    if record.quarantined:
        yield f"quarantined: {record.quarantined} transactions or events could not be read"
