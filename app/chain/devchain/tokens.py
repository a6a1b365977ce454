"""SPL token accounts as nodes show them: raw layouts, amounts for people, balances of a transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey

TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
PROGRAMS = frozenset((TOKEN, TOKEN_2022))
MINT_BYTES = 82
ACCOUNT_BYTES = 165
_STATES = ("uninitialized", "initialized", "frozen")


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """``amount``: base units of ``mint``."""

    mint: Pubkey
    owner: Pubkey
    amount: int
    delegate: Pubkey | None
    state: str
    native_reserve: int | None
    delegated_amount: int
    close_authority: Pubkey | None


@dataclass(frozen=True, slots=True)
class Mint:
    decimals: int
    supply: int
    initialized: bool
    mint_authority: Pubkey | None
    freeze_authority: Pubkey | None


def token_account(account: Account | None) -> TokenAccount | None:
    """The token account in ``account``, None when there is none (spl-token's state.rs has the layout)."""
    if account is None or account.owner not in PROGRAMS:
        return None
    data = account.data
    # Token-2022 puts a byte with the kind behind the base layout of accounts with extensions.
    if not (len(data) == ACCOUNT_BYTES or (len(data) > ACCOUNT_BYTES and data[ACCOUNT_BYTES] == 2)):
        return None
    if not 1 <= data[108] <= 2:
        return None
    return TokenAccount(
        mint=Pubkey.from_bytes(data[:32]),
        owner=Pubkey.from_bytes(data[32:64]),
        amount=int.from_bytes(data[64:72], "little"),
        delegate=_optional(data, 72),
        state=_STATES[data[108]],
        native_reserve=int.from_bytes(data[113:121], "little") if data[109] else None,
        delegated_amount=int.from_bytes(data[121:129], "little"),
        close_authority=_optional(data, 129),
    )


def mint(account: Account | None) -> Mint | None:
    """The mint in ``account``, None when there is none."""
    if account is None or account.owner not in PROGRAMS:
        return None
    data = account.data
    if not (len(data) == MINT_BYTES or (len(data) > ACCOUNT_BYTES and data[ACCOUNT_BYTES] == 1)):
        return None
    return Mint(
        decimals=data[44],
        supply=int.from_bytes(data[36:44], "little"),
        initialized=data[45] == 1,
        mint_authority=_optional(data, 0),
        freeze_authority=_optional(data, 46),
    )


def _optional(data: bytes, at: int) -> Pubkey | None:
    return Pubkey.from_bytes(data[at + 4 : at + 36]) if data[at] else None


def ui_amount(amount: int, decimals: int) -> dict[str, Any]:
    """An amount in the four forms of an RPC answer."""
    text = f"{amount:0{decimals + 1}d}"
    if decimals:
        text = f"{text[:-decimals]}.{text[-decimals:]}".rstrip("0").rstrip(".")
    return {
        "amount": str(amount),
        "decimals": decimals,
        "uiAmount": amount / 10**decimals,
        "uiAmountString": text,
    }


def balances(keys: Sequence[Pubkey], read: Callable[[Pubkey], Account | None]) -> list[dict[str, Any]]:
    """``preTokenBalances`` or ``postTokenBalances`` of a transaction with these ``keys``.

    As nodes do, only for transactions that name a token program.
    """
    if PROGRAMS.isdisjoint(keys):
        return []
    found = []
    for index, key in enumerate(keys):
        account = read(key)
        held = token_account(account)
        if held is None or account is None:
            continue
        its_mint = mint(read(held.mint))
        if its_mint is None:
            continue
        amount = ui_amount(held.amount, its_mint.decimals)
        if not held.amount:
            # A node's ledger store does not tell zero from nothing.
            amount["uiAmount"] = None
        found.append(
            {
                "accountIndex": index,
                "mint": str(held.mint),
                "uiTokenAmount": amount,
                "owner": str(held.owner),
                "programId": str(account.owner),
            }
        )
    return found
