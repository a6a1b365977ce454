"""The jsonParsed encoding: the programs that wallets and tests look at; all others stay raw, as on a node."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from solders.account import Account
from solders.pubkey import Pubkey

from app.chain.devchain import base58, tokens

_SYSTEM = str(Pubkey.default())
_TOKENS = {str(tokens.TOKEN): "spl-token", str(tokens.TOKEN_2022): "spl-token-2022"}
_MEMO = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"
_TOKEN_KINDS = {
    (3, 9): ("transfer", ("source", "destination", "authority")),
    (7, 9): ("mintTo", ("mint", "account", "mintAuthority")),
    (8, 9): ("burn", ("account", "mint", "authority")),
    (12, 10): ("transferChecked", ("source", "mint", "destination", "authority")),
    (14, 10): ("mintToChecked", ("mint", "account", "mintAuthority")),
}
"""By the instruction's number and the length of its data."""
_Parsed: TypeAlias = tuple[str, Any] | None


def parse_instruction(program: str, accounts: list[str], data: bytes, height: int | None) -> dict[str, Any]:
    """An instruction, parsed where the program is known and the data makes sense to it."""
    name, found = _known(program, accounts, data)
    if found is None:
        return {"programId": program, "accounts": accounts, "data": base58.encode(data), "stackHeight": height}
    kind, info = found
    parsed = info if kind == "memo" else {"type": kind, "info": info}
    return {"program": name, "programId": program, "parsed": parsed, "stackHeight": height}


def _known(program: str, accounts: list[str], data: bytes) -> tuple[str, _Parsed]:
    try:
        if program == _SYSTEM:
            return "system", _system(accounts, data)
        if program in _TOKENS:
            return _TOKENS[program], _token(accounts, data)
        if program == _MEMO:
            return "spl-memo", ("memo", data.decode())
    except (IndexError, UnicodeDecodeError):
        pass
    return "", None


def _system(accounts: list[str], data: bytes) -> _Parsed:
    kind = int.from_bytes(data[:4], "little")
    if kind == 2 and len(data) == 12:
        return "transfer", {"source": accounts[0], "destination": accounts[1], "lamports": _u64(data, 4)}
    if kind == 0 and len(data) == 52:
        return "createAccount", {
            "source": accounts[0],
            "newAccount": accounts[1],
            "lamports": _u64(data, 4),
            "space": _u64(data, 12),
            "owner": str(Pubkey.from_bytes(data[20:52])),
        }
    return None


def _token(accounts: list[str], data: bytes) -> _Parsed:
    kind = _TOKEN_KINDS.get((data[0], len(data)))
    if kind is None:
        return None
    name, roles = kind
    amount = int.from_bytes(data[1:9], "little")
    info: dict[str, Any] = {role: accounts[number] for number, role in enumerate(roles)}
    if len(data) == 10:
        return name, {**info, "tokenAmount": tokens.ui_amount(amount, data[9])}
    return name, {**info, "amount": str(amount)}


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def parse_account(account: Account, read: Callable[[Pubkey], Account | None]) -> Mapping[str, Any] | None:
    """The ``data`` of a known kind of account in jsonParsed, None for all others."""
    held = tokens.token_account(account)
    if held is not None:
        its_mint = tokens.mint(read(held.mint))
        if its_mint is None:
            return None
        info: dict[str, Any] = {
            "isNative": held.native_reserve is not None,
            "mint": str(held.mint),
            "owner": str(held.owner),
            "state": held.state,
            "tokenAmount": tokens.ui_amount(held.amount, its_mint.decimals),
        }
        if held.delegate is not None:
            info["delegate"] = str(held.delegate)
            info["delegatedAmount"] = tokens.ui_amount(held.delegated_amount, its_mint.decimals)
        if held.native_reserve is not None:
            info["rentExemptReserve"] = tokens.ui_amount(held.native_reserve, its_mint.decimals)
        if held.close_authority is not None:
            info["closeAuthority"] = str(held.close_authority)
        return _account(account, "account", info)
    minted = tokens.mint(account)
    if minted is not None and minted.initialized:
        return _account(
            account,
            "mint",
            {
                "decimals": minted.decimals,
                "freezeAuthority": _key(minted.freeze_authority),
                "isInitialized": minted.initialized,
                "mintAuthority": _key(minted.mint_authority),
                "supply": str(minted.supply),
            },
        )
    return None


def _account(account: Account, kind: str, info: dict[str, Any]) -> dict[str, Any]:
    return {
        "program": _TOKENS[str(account.owner)],
        "parsed": {"type": kind, "info": info},
        "space": len(account.data),
    }


def _key(key: Pubkey | None) -> str | None:
    return None if key is None else str(key)


def encode_data(data: bytes, encoding: str) -> Any:
    """Account data in a binary encoding; ``binary`` is the old default, base58 without its name."""
    if encoding == "binary":
        return base58.encode(data)
    if encoding == "base58":
        return [base58.encode(data), "base58"]
    return [b64encode(data).decode(), "base64"]
