"""Instructions of the network's programs, built from their IDLs, and what their errors are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from spl.token.instructions import create_idempotent_associated_token_account, get_associated_token_address

from app.chain import schema
from app.chain.schema import IdlError
from app.chain.shapes import SIZES, Defined, Enum, Primitive, Struct, Type

__all__ = ["ProgramCalls", "create_token_account", "token_account"]

token_account = get_associated_token_address
"""``(owner, mint)`` → the token account that wallets pay into: SPL's associated token account."""
create_token_account = create_idempotent_associated_token_account
"""``(payer, owner, mint)`` → an instruction that opens it, if it is not there, at the payer's expense."""

_LONGEST_LOG = 200


class _Seed(msgspec.Struct):
    kind: str
    value: list[int] = []
    path: str = ""


class _Pda(msgspec.Struct):
    seeds: list[_Seed]


class _Account(msgspec.Struct):
    name: str
    writable: bool = False
    signer: bool = False
    address: str = ""
    pda: _Pda | None = None


class _Instruction(msgspec.Struct):
    name: str
    accounts: list[_Account]


class _Error(msgspec.Struct):
    code: int
    name: str
    msg: str = ""


class _Document(msgspec.Struct):
    instructions: list[_Instruction]
    errors: list[_Error] = []


class ProgramCalls:
    """The instructions of the program ``name`` (a file in ``idl/``), deployed at ``program_id``.

    Raises IdlError for an IDL that is none, ValueError for an id that is no public key.
    """

    def __init__(self, name: str, program_id: str) -> None:
        self.program_id = Pubkey.from_string(program_id)
        self._idl, document = _read(name)
        self._items = {one.name: one for one in self._idl.instructions}
        self._accounts = {one.name: one.accounts for one in document.instructions}
        self.errors = {one.code: f"{one.name}: {one.msg}" for one in document.errors}
        """By code: the error's name, and what it means."""

    def build(self, name: str, args: Mapping[str, Any], accounts: Mapping[str, Pubkey]) -> Instruction:
        """The instruction ``name``. ``args``: as the decoder gives them, a fieldless enum also as its variant's name.

        ``accounts`` may leave out those that the IDL has an address or seeds for. Raises KeyError for what is missing,
        ValueError (IdlError is one) and OverflowError for arguments that are not of their types.
        """
        item = self._items[name]
        assert isinstance(item.type, Struct)
        data = item.discriminator + self._written(item.type, args)
        metas = []
        for one in self._accounts[name]:
            key = accounts.get(one.name) or self._found(one, name, args, accounts)
            metas.append(AccountMeta(key, one.signer, one.writable))
        return Instruction(self.program_id, data, metas)

    def failure(self, err: Any, logs: Sequence[str] = ()) -> str:
        """One line for people on a transaction's ``err``: by the error's name where the IDL has it, else as the node
        has it, with what the program said last."""
        try:
            return self.errors[err["InstructionError"][1]["Custom"]]
        except (KeyError, TypeError, IndexError):
            pass
        text = msgspec.json.encode(err).decode() if not isinstance(err, str) else err
        said = [line.removeprefix("Program log: ") for line in logs if line.startswith("Program log: ")]
        wrong = [line for line in said if "error" in line.lower()]
        return f"{text[:_LONGEST_LOG]}: {wrong[-1][:_LONGEST_LOG]}" if wrong else text[:_LONGEST_LOG]

    def _found(self, account: _Account, name: str, args: Mapping[str, Any], accounts: Mapping[str, Pubkey]) -> Pubkey:
        if account.address:
            return Pubkey.from_string(account.address)
        if account.pda is None:
            raise KeyError(f"{name} needs the account {account.name}")
        seeds = []
        for seed in account.pda.seeds:
            if seed.kind == "const":
                seeds.append(bytes(seed.value))
            elif seed.kind == "account":
                seeds.append(bytes(accounts[seed.path]))
            else:
                seeds.append(str(args[seed.path]).encode())
        if max(map(len, seeds)) > 32:
            # solders panics instead of raising.
            raise ValueError(f"{account.name}: a seed of more than 32 bytes")
        return Pubkey.find_program_address(seeds, self.program_id)[0]

    def _written(self, shape: Type, value: Any) -> bytes:
        """``value`` in Borsh."""
        match shape:
            case Primitive("string"):
                text = str(value).encode()
                return len(text).to_bytes(4, "little") + text
            case Primitive("pubkey"):
                return bytes(Pubkey.from_string(str(value)))
            case Primitive(kind) if kind in SIZES and kind[0] in "uib":
                return int(value).to_bytes(SIZES[kind], "little", signed=kind[0] == "i")
            case Defined(key):
                return self._written(self._idl.types[key], value)
            case Struct(names, types) if names is not None:
                return b"".join(self._written(one, value[field]) for field, one in zip(names, types, strict=True))
            case Enum(variants) if not any(one.types for _, one in variants):
                chosen = value if isinstance(value, str) else next(iter(value))
                return bytes([[variant for variant, _ in variants].index(chosen)])
            case _:
                raise IdlError(f"{self._idl.name}: cannot write {shape!r:.200}")


@cache
def _read(name: str) -> tuple[schema.Idl, _Document]:
    raw = files("app.chain").joinpath("idl", f"{name}.json").read_bytes()
    return schema.load(raw), msgspec.json.decode(raw, type=_Document)
