"""HYPER on the local chain: a real SPL mint, token accounts, transfers."""

from __future__ import annotations

import hashlib
import struct

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from solders.system_program import CreateAccountParams, create_account

from app.chain.devchain import tokens
from app.chain.devchain.chain import DevChain

DECIMALS = 9
HYPER = 10**DECIMALS
"""Base units of one HYPER."""

_ASSOCIATED = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
_PURSE = 10**13


def keypair(name: str, seed: int = 0) -> Keypair:
    """The same key for the same name, always: keys of a toy chain are no secrets."""
    return Keypair.from_seed(hashlib.sha256(f"devchain key {seed} {name}".encode()).digest())


def token_address(owner: Pubkey, mint: Pubkey) -> Pubkey:
    """The associated token account of ``owner`` for ``mint``."""
    return Pubkey.find_program_address([bytes(owner), bytes(tokens.TOKEN), bytes(mint)], _ASSOCIATED)[0]


def transfer(source: Pubkey, to: Pubkey, owner: Pubkey, amount: int) -> Instruction:
    """Move ``amount`` base units between token accounts; ``owner`` of the source signs."""
    metas = [AccountMeta(source, False, True), AccountMeta(to, False, True), AccountMeta(owner, True, False)]
    return Instruction(tokens.TOKEN, struct.pack("<BQ", 3, amount), metas)


class Money:
    """A mint of 9 decimals and who holds its tokens; made on ``chain`` in real transactions."""

    def __init__(self, chain: DevChain, name: str = "HYPER") -> None:
        self.chain = chain
        self.authority = keypair(f"{name} authority", chain.config.seed)
        mint = keypair(f"{name} mint", chain.config.seed)
        self.mint = mint.pubkey()
        self._known: dict[Pubkey, Pubkey] = {}
        authority = self.authority.pubkey()
        chain.airdrop(authority, _PURSE)
        if tokens.mint(chain.account(self.mint)) is None:
            rent = chain.bank.svm.minimum_balance_for_rent_exemption(tokens.MINT_BYTES)
            place = create_account(
                CreateAccountParams(
                    from_pubkey=authority,
                    to_pubkey=self.mint,
                    lamports=rent,
                    space=tokens.MINT_BYTES,
                    owner=tokens.TOKEN,
                )
            )
            # InitializeMint2: decimals, who may mint, nobody who may freeze.
            start = Instruction(
                tokens.TOKEN, bytes((20, DECIMALS, *bytes(authority), 0)), [AccountMeta(self.mint, False, True)]
            )
            chain.send(chain.sign([place, start], [self.authority, mint]), verify=False)

    def account(self, owner: Pubkey) -> Pubkey:
        """The owner's token account, created where it is missing."""
        address = self._known.get(owner)
        if address is None:
            address = self._known[owner] = token_address(owner, self.mint)
        if self.chain.account(address) is None:
            payer = self.authority.pubkey()
            metas = [
                AccountMeta(payer, True, True),
                AccountMeta(address, False, True),
                AccountMeta(owner, False, False),
                AccountMeta(self.mint, False, False),
                AccountMeta(SYSTEM, False, False),
                AccountMeta(tokens.TOKEN, False, False),
            ]
            # CreateIdempotent
            self.chain.send(self.chain.sign([Instruction(_ASSOCIATED, b"\x01", metas)], [self.authority]), verify=False)
        return address

    def give(self, owner: Pubkey, amount: int) -> Pubkey:
        """Mint ``amount`` base units to the owner's token account; answers its address."""
        address, authority = self.account(owner), self.authority.pubkey()
        metas = [
            AccountMeta(self.mint, False, True),
            AccountMeta(address, False, True),
            AccountMeta(authority, True, False),
        ]
        mint_to = Instruction(tokens.TOKEN, struct.pack("<BQ", 7, amount), metas)
        self.chain.send(self.chain.sign([mint_to], [self.authority]), verify=False)
        return address

    def held(self, owner: Pubkey) -> int:
        """Base units in the owner's token account at the tip."""
        found = tokens.token_account(self.chain.account(token_address(owner, self.mint)))
        return found.amount if found else 0
