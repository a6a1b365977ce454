"""Methods about accounts and token balances, as of the commitment asked for."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey

from app.chain.base58 import decode as from_base58
from app.chain.devchain import tokens
from app.chain.devchain.errors import INVALID_REQUEST, RpcError, invalid_params
from app.chain.devchain.node import Node, method
from app.chain.devchain.params import MAX_U64, Config, Params, as_integer, as_pubkey
from app.chain.devchain.parsed import encode_data, parse_account

ENCODINGS = ("binary", "base58", "base64", "jsonParsed")
_MOST_ACCOUNTS = 100
_MOST_FILTERS = 4
_LONGEST_BASE58 = 128


def account_value(
    account: Account | None,
    config: Config,
    read: Callable[[Pubkey], Account | None],
    default: str = "binary",
    *,
    strict: bool = True,
) -> dict[str, Any] | None:
    """An account as an RPC answer has it, None for none. Data too long for base58 raises RpcError, if ``strict``."""
    if account is None:
        return None
    encoding = config.encoding(default, *ENCODINGS)
    data: Any = parse_account(account, read) if encoding == "jsonParsed" else None
    if data is None:
        shown = _slice(account.data, config.get("dataSlice"))
        encoding = "base64" if encoding == "jsonParsed" else encoding
        if encoding != "base64" and len(shown) > _LONGEST_BASE58:
            if strict:
                raise RpcError(
                    INVALID_REQUEST,
                    "Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding.",
                )
            data = ["error: data too large for bs58 encoding", "base58"]
        else:
            data = encode_data(shown, encoding)
    return {
        "lamports": account.lamports,
        "data": data,
        "owner": str(account.owner),
        "executable": account.executable,
        # Of every account that has enough lamports for its size, which all have.
        "rentEpoch": MAX_U64,
        "space": len(account.data),
    }


def _slice(data: bytes, wanted: Any) -> bytes:
    if wanted is None:
        return data
    if not isinstance(wanted, dict):
        raise invalid_params("Invalid params: dataSlice must be an object")
    offset = as_integer(wanted.get("offset"))
    return data[offset : offset + as_integer(wanted.get("length"))]


def reader(node: Node, slot: int) -> Callable[[Pubkey], Account | None]:
    return lambda key: node.chain.bank.account(key, slot)


@method("getBalance")
def get_balance(node: Node, params: Params) -> Any:
    key, slot = params.pubkey(0), node.view(params.config(1))
    account = node.chain.bank.account(key, slot)
    return node.in_context(slot, account.lamports if account else 0)


@method("getAccountInfo")
def get_account_info(node: Node, params: Params) -> Any:
    key, config = params.pubkey(0), params.config(1)
    slot = node.view(config)
    read = reader(node, slot)
    return node.in_context(slot, account_value(read(key), config, read))


@method("getMultipleAccounts")
def get_multiple_accounts(node: Node, params: Params) -> Any:
    keys = [as_pubkey(key) for key in params.texts(0, _MOST_ACCOUNTS)]
    config = params.config(1)
    slot = node.view(config)
    read = reader(node, slot)
    return node.in_context(slot, [account_value(read(key), config, read, "base64") for key in keys])


@method("getProgramAccounts")
def get_program_accounts(node: Node, params: Params) -> Any:
    program, config = params.pubkey(0), params.config(1)
    slot = node.view(config)
    keeps = filters(config)
    found = _keyed(node, slot, config, ((key, each) for key, each in _owned(node, program, slot) if keeps(each.data)))
    return node.in_context(slot, found) if config.flag("withContext") else found


@method("getTokenAccountBalance")
def get_token_account_balance(node: Node, params: Params) -> Any:
    key, slot = params.pubkey(0), node.view(params.config(1))
    read = reader(node, slot)
    account = read(key)
    if account is None:
        raise invalid_params("Invalid param: could not find account")
    held = tokens.token_account(account)
    its_mint = tokens.mint(read(held.mint)) if held else None
    if held is None or its_mint is None:
        raise invalid_params("Invalid param: not a Token account")
    return node.in_context(slot, tokens.ui_amount(held.amount, its_mint.decimals))


@method("getTokenSupply")
def get_token_supply(node: Node, params: Params) -> Any:
    key, slot = params.pubkey(0), node.view(params.config(1))
    its_mint = tokens.mint(reader(node, slot)(key))
    if its_mint is None:
        raise invalid_params("Invalid param: not a Token mint")
    return node.in_context(slot, tokens.ui_amount(its_mint.supply, its_mint.decimals))


@method("getTokenAccountsByOwner")
def get_token_accounts_by_owner(node: Node, params: Params) -> Any:
    owner, wanted, config = params.pubkey(0), params.config(1), params.config(2)
    slot = node.view(config)
    if wanted.get("mint") is not None:
        mint = as_pubkey(wanted.get("mint"))
        account = node.chain.bank.account(mint, slot)
        if tokens.mint(account) is None or account is None:
            raise invalid_params("Invalid param: could not find mint")
        program = account.owner
    else:
        mint, program = None, as_pubkey(wanted.get("programId"))
        if program not in tokens.PROGRAMS:
            raise invalid_params("Invalid param: unrecognized Token program id")

    def chosen() -> Iterator[tuple[Pubkey, Account]]:
        for key, account in _owned(node, program, slot):
            held = tokens.token_account(account)
            if held is not None and held.owner == owner and mint in (None, held.mint):
                yield key, account

    return node.in_context(slot, _keyed(node, slot, config, chosen()))


def _owned(node: Node, program: Pubkey, slot: int) -> Iterator[tuple[Pubkey, Account]]:
    yield from node.chain.bank.owned_by(program, slot).items()


def _keyed(node: Node, slot: int, config: Config, found: Iterator[tuple[Pubkey, Account]]) -> list[dict[str, Any]]:
    read = reader(node, slot)
    return [{"pubkey": str(key), "account": account_value(account, config, read)} for key, account in found]


def filters(config: Config) -> Callable[[bytes], bool]:
    """Whether account data passes all of a call's filters."""
    given = config.get("filters")
    if given is None:
        return lambda data: True
    if not isinstance(given, list):
        raise invalid_params("Invalid params: filters must be a list")
    if len(given) > _MOST_FILTERS:
        raise invalid_params(f"Too many filters provided; max {_MOST_FILTERS}")
    checks = [_filter(each) for each in given]
    return lambda data: all(check(data) for check in checks)


def _filter(given: Any) -> Callable[[bytes], bool]:
    if isinstance(given, dict) and "dataSize" in given:
        size = as_integer(given["dataSize"])
        return lambda data: len(data) == size
    if isinstance(given, dict) and isinstance(given.get("memcmp"), dict):
        offset, wanted = as_integer(given["memcmp"].get("offset")), _bytes(given["memcmp"])
        return lambda data: data[offset : offset + len(wanted)] == wanted
    raise invalid_params("Invalid params: a filter is {dataSize} or {memcmp: {offset, bytes, encoding}}")


def _bytes(memcmp: dict[str, Any]) -> bytes:
    given = memcmp.get("bytes")
    try:
        if isinstance(given, list):
            wanted = bytes(given)
        elif isinstance(given, str):
            wanted = b64decode(given, validate=True) if memcmp.get("encoding") == "base64" else from_base58(given)
        else:
            raise invalid_params("Invalid params: memcmp needs bytes")
    except (ValueError, TypeError) as error:
        raise invalid_params(f"Invalid param: memcmp bytes: {error}") from error
    if len(wanted) > _LONGEST_BASE58:
        raise invalid_params("Invalid param: memcmp of more than 128 bytes")
    return wanted
