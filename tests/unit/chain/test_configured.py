"""Settings of the chain's side: every mistake ends in one line that names the setting, and shows no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from solders.keypair import Keypair

from app.chain.configured import chain_from, websocket_of
from app.settings import Settings, SettingsError, load

REGISTRY = "Fg6PaFpoGXkYsidMpWTK6W2BeZ7FEfcYkg476zPFsLnS"
RECEIPT = "Gx7UjBjVKHNqiQGPzWGVxQb8j4ZKN5cVx5TmPvRfZ8U"
SPLITTER = "BYqBB45Xdz445b4R1pwzkgvpNqqH7ZV4iiuLi2NLPHay"
GOOD = {
    "SOLANA_RPC_URL": "http://127.0.0.1:8899",
    "NODE_REGISTRY_PROGRAM_ID": REGISTRY,
    "JOB_RECEIPT_PROGRAM_ID": RECEIPT,
}


def settings(**env: str) -> Settings:
    return load(env={**GOOD, **env})


def test_two_programs_are_enough() -> None:
    setup = chain_from(settings())
    assert setup.programs.ids == (REGISTRY, RECEIPT)
    assert setup.ws_url == "ws://127.0.0.1:8900"
    assert setup.keypair is None
    assert len(setup.endpoints) == 1


def test_everything_at_once(tmp_path: Path) -> None:
    keypair = Keypair()
    file = tmp_path / "id.json"
    file.write_text(json.dumps(list(bytes(keypair))))
    setup = chain_from(
        settings(
            PAYMENT_SPLITTER_PROGRAM_ID=SPLITTER,
            SOLANA_WS_URL="wss://chain.example/ws",
            HAE_CHAIN_FALLBACK_RPC_URL="https://other.example",
            HAE_CHAIN_HYPER_MINT=SPLITTER,
            HAE_CHAIN_SUBMIT="true",
            HAE_CHAIN_KEYPAIR=str(file),
        )
    )
    assert setup.programs.ids == (REGISTRY, RECEIPT, SPLITTER)
    assert setup.ws_url == "wss://chain.example/ws"
    assert setup.keypair == keypair
    assert len(setup.endpoints) == 2


def test_a_keypair_may_stand_in_the_setting_itself() -> None:
    keypair = Keypair()
    setup = chain_from(settings(HAE_CHAIN_SUBMIT="true", HAE_CHAIN_KEYPAIR=json.dumps(list(bytes(keypair)))))
    assert setup.keypair == keypair


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"SOLANA_RPC_URL": ""}, "solana.rpc_url"),
        ({"NODE_REGISTRY_PROGRAM_ID": ""}, "NODE_REGISTRY_PROGRAM_ID"),
        ({"JOB_RECEIPT_PROGRAM_ID": ""}, "JOB_RECEIPT_PROGRAM_ID"),
        ({"JOB_RECEIPT_PROGRAM_ID": "HyPErNoDePaymEntSpLiTtErProGramId1234567"}, "JOB_RECEIPT_PROGRAM_ID"),
        ({"PAYMENT_SPLITTER_PROGRAM_ID": "0OIl"}, "PAYMENT_SPLITTER_PROGRAM_ID"),
        ({"PAYMENT_SPLITTER_PROGRAM_ID": RECEIPT}, "same id"),
        ({"HAE_CHAIN_HYPER_MINT": "mint"}, "chain.hyper_mint"),
        ({"HAE_CHAIN_TREASURY": "x"}, "chain.treasury"),
        ({"HAE_CHAIN_SUBMIT": "true"}, "chain.keypair"),
        ({"HAE_CHAIN_SUBMIT": "true", "HAE_CHAIN_KEYPAIR": "/no/such/file"}, "chain.keypair"),
        ({"HAE_CHAIN_SUBMIT": "true", "HAE_CHAIN_KEYPAIR": "[1, 2, 3]"}, "chain.keypair"),
        ({"HAE_CHAIN_SUBMIT": "true", "HAE_CHAIN_KEYPAIR": json.dumps([999] * 64)}, "chain.keypair"),
        ({"HAE_CHAIN_SUBMIT": "true", "HAE_CHAIN_KEYPAIR": "[" * 4_000}, "chain.keypair"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_setting(env: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        chain_from(settings(**env))
    line = str(refused.value)
    assert named in line
    assert "\n" not in line


def test_a_bad_key_is_not_quoted() -> None:
    numbers = json.dumps([77] * 63)
    with pytest.raises(SettingsError) as refused:
        chain_from(settings(HAE_CHAIN_SUBMIT="true", HAE_CHAIN_KEYPAIR=numbers))
    assert "77" not in str(refused.value)


@pytest.mark.parametrize(
    ("rpc", "ws"),
    [
        ("http://127.0.0.1:8899", "ws://127.0.0.1:8900"),
        ("https://rpc.example/key?x=1", "wss://rpc.example/key?x=1"),
        ("http://user:pw@[::1]:1000/", "ws://user:pw@[::1]:1001/"),
    ],
)
def test_subscriptions_are_where_clients_look_for_them(rpc: str, ws: str) -> None:
    assert websocket_of(rpc) == ws
