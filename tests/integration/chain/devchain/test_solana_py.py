"""What a program written with solana-py does, on a served chain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from solana.exceptions import SolanaRpcException
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed, Finalized, Processed
from solana.rpc.core import RPCException
from solana.rpc.models import MemcmpOpts, TxOpts
from solana.rpc.websocket_api import SolanaWsClient
from solders.account import Account
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.rpc.config import RpcTransactionLogsFilterMentions
from solders.rpc.errors import SendTransactionPreflightFailureMessage
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from app.chain.devchain import JOB_RECEIPT, ChainConfig, Served, serve
from app.chain.devchain.money import HYPER, Money

SOL = 10**9
ALICE, BOB = Keypair(), Keypair()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve(ChainConfig(slot_ms=10, finalize_depth=3)) as served:
        yield served


@pytest.fixture
async def client(served: Served) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(served.url, commitment=Confirmed) as client:
        yield client


async def paying(client: AsyncClient, lamports: int) -> VersionedTransaction:
    latest = (await client.get_latest_blockhash()).value.blockhash
    step = transfer(TransferParams(from_pubkey=ALICE.pubkey(), to_pubkey=BOB.pubkey(), lamports=lamports))
    return VersionedTransaction(Message.new_with_blockhash([step], ALICE.pubkey(), latest), [ALICE])


async def test_airdrop_transfer_confirmation_and_reading(served: Served, client: AsyncClient) -> None:
    assert await client.is_connected()
    drop = (await client.request_airdrop(ALICE.pubkey(), 10 * SOL)).value
    await client.confirm_transaction(drop, Finalized, sleep_seconds=0.01)
    sent = await paying(client, SOL)
    tried = (await client.simulate_transaction(sent)).value
    assert (tried.err, tried.units_consumed) == (None, 150)
    signature = (await client.send_transaction(sent)).value
    await client.confirm_transaction(signature, Finalized, sleep_seconds=0.01)
    assert (await client.get_balance(BOB.pubkey())).value == SOL
    slot = 0
    for encoding in ("json", "jsonParsed", "base64"):
        found = (await client.get_transaction(signature, encoding, max_supported_transaction_version=0)).value
        assert found is not None and found.transaction.meta is not None
        assert found.transaction.meta.post_balances[1] == SOL
        slot = found.slot
    block = (await client.get_block(slot, max_supported_transaction_version=0)).value
    assert block.transactions is not None and len(block.transactions) == 1
    page = (await client.get_signatures_for_address(BOB.pubkey())).value
    assert [each.signature for each in page] == [signature]
    [status] = (await client.get_signature_statuses([signature])).value
    assert status is not None and status.err is None
    account = (await client.get_account_info(BOB.pubkey())).value
    assert account is not None and account.lamports == SOL
    assert (await client.get_blocks(0, slot)).value[-1] == slot
    assert (await client.get_epoch_info()).value.absolute_slot >= slot
    assert (await client.get_genesis_hash()).value == served.chain.blocks.genesis_hash
    assert (await client.get_fee_for_message((await paying(client, 1)).message)).value == 5000  # type: ignore[arg-type]


async def test_a_failing_preflight_tells_its_logs(client: AsyncClient) -> None:
    drop = (await client.request_airdrop(ALICE.pubkey(), SOL)).value
    await client.confirm_transaction(drop, Confirmed, sleep_seconds=0.01)
    with pytest.raises(RPCException) as caught:
        await client.send_transaction(await paying(client, 50 * SOL), TxOpts(preflight_commitment=Processed))
    [failure] = caught.value.args
    assert isinstance(failure, SendTransactionPreflightFailureMessage)
    assert failure.data.logs is not None
    assert "insufficient lamports" in "".join(failure.data.logs)


async def test_accounts_of_programs_and_tokens(served: Served, client: AsyncClient) -> None:
    key, program = Keypair().pubkey(), Pubkey.from_string(JOB_RECEIPT)
    served.chain.set_account(key, Account(SOL, b"state", program))
    money = Money(served.chain)
    address = money.give(BOB.pubkey(), 3 * HYPER // 2)
    found = await client.get_program_accounts(program, Processed, filters=[5, MemcmpOpts(offset=0, bytes="E")])
    assert found.value == []
    found = await client.get_program_accounts(program, Processed, filters=[5])
    assert [(each.pubkey, each.account.data) for each in found.value] == [(key, b"state")]
    balance = (await client.get_token_account_balance(address, Processed)).value
    assert (balance.amount, balance.decimals, balance.ui_amount_string) == (str(3 * HYPER // 2), 9, "1.5")
    many = (await client.get_multiple_accounts([key, Keypair().pubkey()], Processed)).value
    assert [each and each.lamports for each in many] == [SOL, None]


async def test_subscriptions(served: Served, client: AsyncClient) -> None:
    async with SolanaWsClient(served.ws_url) as socket:
        mentions = RpcTransactionLogsFilterMentions(BOB.pubkey())
        logs = await socket.logs_subscribe(filter_=mentions, commitment=Confirmed)
        await socket.account_subscribe(pubkey=BOB.pubkey(), commitment=Confirmed, encoding="base64")
        signature = (await client.request_airdrop(BOB.pubkey(), SOL)).value
        await socket.signature_subscribe(signature=signature, commitment=Finalized)
        kinds: dict[str, Any] = {}
        while len(kinds) < 3:
            notification = await socket.recv()
            kinds[type(notification).__name__] = notification
        assert set(kinds) == {"LogsNotification", "AccountNotification", "SignatureNotification"}
        assert kinds["LogsNotification"].result.value.signature == signature
        await socket.unsubscribe(logs)
        await socket.slot_subscribe()
        assert type(await socket.recv()).__name__ == "SlotNotification"


async def test_rate_limits_are_seen_for_what_they_are(served: Served, client: AsyncClient) -> None:
    served.faults.add("http_429", count=20)
    with pytest.raises(SolanaRpcException):
        await client.get_slot()
