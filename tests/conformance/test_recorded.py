"""Every recorded transaction, block and log gives exactly the events that are expected of it."""

from __future__ import annotations

from typing import Any

import pytest

from app.chain.model import Reading, Transaction
from tests.conformance.solana import Corpus, as_if_committed, corpora, expected, read, transaction

RECORDS = [
    pytest.param(corpus, record, id=f"{corpus.name}-{record['id']}")
    for corpus in corpora()
    for record in corpus.manifest["records"]
]
BLOCKS = [
    pytest.param(corpus, block, id=f"{corpus.name}-{block['key']}")
    for corpus in corpora()
    for block in corpus.manifest["blocks"]
]


def agrees(corpus: Corpus, reading: Reading, events: list[dict[str, Any]]) -> None:
    assert read(corpus, reading, events) == expected(events)
    assert [one.reason for one in reading.quarantined] == []


@pytest.mark.parametrize(("corpus", "record"), RECORDS)
def test_records(corpus: Corpus, record: dict[str, Any]) -> None:
    raw, wanted = corpus.file(record["file"]), corpus.file(record["expected"])
    decoder = corpus.decoder(corpus.judged(record))
    if record["kind"] == "tx":
        tx = transaction(raw)
        if not wanted["committed"]:
            # Nothing is taken from it; what it would have said can be compared all the same.
            assert decoder.read(tx) == Reading()
            tx = as_if_committed(tx)
        reading = decoder.read(tx)
    else:
        reading = decoder.logs_only(raw.get("logs") or raw["log_messages"], None, wanted["err"])
    agrees(corpus, reading, wanted["events"])
    assert reading.truncated == (wanted["truncated"] and bool(wanted["events"]))


@pytest.mark.parametrize(("corpus", "block"), BLOCKS)
def test_blocks(corpus: Corpus, block: dict[str, Any]) -> None:
    raw = corpus.file(block["file"])
    wanted = {
        one["signature"]: one["events"]
        for one in corpus.file(block["expected"])["transactions_with_events"]
        if one["committed"]
    }
    decoder = corpus.decoder(corpus.judged(block))
    for item in raw["transactions"]:
        tx = transaction(item, slot=block["slot"], block_time=raw["blockTime"])
        assert (tx.slot, tx.block_time) == (block["slot"], raw["blockTime"])
        agrees(corpus, decoder.read(tx), wanted.pop(tx.signature, []))
    assert wanted == {}


def comparable(tx: Transaction) -> Any:
    """Without what jsonParsed leaves out of instructions that it takes apart."""
    return (
        *(tx.signature, tx.version, tx.error, tx.accounts, tx.logs, tx.pre_balances, tx.post_balances),
        [(one.program, one.height) for one in tx.instructions],
        {outer: [one.program for one in called] for outer, called in tx.inner.items()},
    )


def test_one_block_in_three_encodings_is_the_same() -> None:
    corpus = corpora()[0]
    blocks = [
        [comparable(transaction(item)) for item in corpus.file(f"blocks/147078735.{encoding}.json")["transactions"]]
        for encoding in ("json", "base64", "jsonParsed")
    ]
    assert blocks[0] == blocks[1] == blocks[2]


def test_nothing_was_lost_in_copying() -> None:
    copied = corpora()[0]
    assert len(RECORDS) >= 62
    assert sum(1 for _ in copied.events()) == 174
