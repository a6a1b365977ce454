"""From IDLs to events: a decoder for each program, and one that reads whole transactions.

``not_anchor_line`` joins DecodeError's reasons for a data line that is not the base64 of one field.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import error as ShortError  # noqa: N812
from typing import Any

from app.chain.attribution import Walk, walk, walk_logs
from app.chain.borsh import Compiler, DecodeError, Reader
from app.chain.model import ChainEvent, EventKey, Quarantined, Reading, Transaction
from app.chain.schema import Idl, IdlError
from app.chain.shapes import Item

__all__ = ["Check", "DecodeError", "Decoder", "ProgramDecoder"]

Check = Callable[[str, Mapping[str, Any]], str]
"""Given an event's name and data, the reason not to let it in, or ""."""


class ProgramDecoder:
    """Decodes what one program writes, by one or several versions of its IDL.

    Versions that share a discriminator are told apart by length: the first that fits exactly is right. The methods
    raise DecodeError and nothing else; the constructor IdlError.
    """

    def __init__(self, program_id: str, *idls: Idl) -> None:
        self.program_id = program_id
        try:
            compiled = [(idl, Compiler(idl.types)) for idl in idls]
            self._events = _Table([(one, code.reader(one.type)) for idl, code in compiled for one in idl.events])
            self._accounts = _Table([(one, code.reader(one.type)) for idl, code in compiled for one in idl.accounts])
            self._instructions = _Table(
                [(one, code.reader(one.type)) for idl, code in compiled for one in idl.instructions]
            )
            self._passed = {one.name: one.accounts for idl, _ in compiled for one in idl.instructions}
        except RecursionError:
            raise IdlError(f"{', '.join(idl.name for idl in idls)}: types nested too deep") from None

    def event(self, raw: bytes) -> tuple[str, dict[str, Any]]:
        """An event's name and fields; every byte must belong to it."""
        known = self._events.only.get(raw[:8])
        if known is not None:
            name, reader = known
            try:
                value, end = reader(raw, 8, len(raw))
                if end == len(raw):
                    return name, value
            except (ValueError, ShortError):
                pass
        # Several versions, an unusual discriminator, or a failure to be named.
        return self._events.read(raw, _nothing)

    def account(self, raw: bytes) -> tuple[str, dict[str, Any]]:
        """An account's name and fields. Behind them may be room, filled with zeros."""
        return self._accounts.read(raw, _zeros)

    def instruction(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """An instruction's name and arguments. Bytes behind them are ignored, as the program ignores them."""
        return self._instructions.read(data, _anything)

    def named(self, instruction: str, accounts: Sequence[str]) -> dict[str, str]:
        """The accounts passed to ``instruction``, by the names that the IDL gives them."""
        return dict(zip(self._passed[instruction], accounts, strict=False))


class _Table:
    """Readers by discriminator; those of Anchor's own length are found by one look-up."""

    def __init__(self, items: Iterable[tuple[Item, Reader]]) -> None:
        self._usual: dict[bytes, list[tuple[str, Reader]]] = {}
        self._others: dict[bytes, list[tuple[str, Reader]]] = {}
        for item, reader in items:
            table = self._usual if len(item.discriminator) == 8 else self._others
            table.setdefault(item.discriminator, []).append((item.name, reader))
        self.only = {key: found[0] for key, found in self._usual.items() if len(found) == 1}
        self._longest_first = sorted(self._others, key=len, reverse=True)

    def read(self, raw: bytes, rest_is_fine: Callable[[bytes, int], bool]) -> tuple[str, dict[str, Any]]:
        start, readers = 8, self._usual.get(raw[:8])
        if readers is None:
            start, readers = self._other(raw)
        failure: DecodeError | None = None
        size = len(raw)
        for name, reader in readers:
            try:
                value, end = reader(raw, start, size)
                if end == size or rest_is_fine(raw, end):
                    return name, value
                error = DecodeError("trailing_bytes", f"{size - end} bytes behind {name}")
            except ShortError:
                error = DecodeError("short", f"{size} bytes are too few for {name}")
            except UnicodeDecodeError:
                error = DecodeError("invalid_value", f"a text of {name} is not UTF-8")
            except DecodeError as why:
                error = DecodeError(why.reason, f"{name}: {why.detail}")
            failure = failure or error
        assert failure is not None
        raise failure

    def _other(self, raw: bytes) -> tuple[int, list[tuple[str, Reader]]]:
        for discriminator in self._longest_first:
            if raw.startswith(discriminator):
                return len(discriminator), self._others[discriminator]
        if len(raw) < 8:
            raise DecodeError("short", f"{len(raw)} bytes are too few for a discriminator")
        raise DecodeError("unknown_discriminator", raw[:8].hex())


def _nothing(raw: bytes, end: int) -> bool:
    return False


def _zeros(raw: bytes, end: int) -> bool:
    return not raw[end:].strip(b"\0")


def _anything(raw: bytes, end: int) -> bool:
    return True


class Decoder:
    """Reads transactions for the events of ``programs``. ``check`` says which decoded ones are quarantined all the
    same."""

    def __init__(self, programs: Iterable[ProgramDecoder], check: Check | None = None) -> None:
        self._programs = {one.program_id: one for one in programs}
        self._lines = tuple(f"Program {program} invoke [" for program in self._programs)
        self._check = check

    def read(self, tx: Transaction) -> Reading:
        """What ``tx`` says; nothing if it failed, for what it did was undone. Raises nothing.

        Where logs and instructions contradict each other, all of it is quarantined (``attribution_mismatch``).
        """
        if tx.error is not None:
            return Reading()
        if not self._concerns(tx):
            return Reading() if tx.logs is not None or tx.inner else self._hidden(tx)
        found = walk(tx.logs, tx.instructions, tx.inner, self._programs)
        if found.mismatch:
            listed = (*tx.instructions, *(one for called in tx.inner.values() for one in called))
            return self._refused(found.mismatch, tx.signature, (one.program for one in listed), tx.logs or ())
        return self._decoded(found, tx.signature)

    def logs_only(
        self, logs: Sequence[str] | None, top_level: Sequence[str] | None = None, err: Any = None, signature: str = ""
    ) -> Reading:
        """As ``read`` where only logs are at hand, and perhaps the ``top_level`` programs: they are held against
        those, and else against themselves. Events of ``emit_cpi!`` are not in logs."""
        if err is not None:
            return Reading()
        found = walk_logs(logs, top_level, self._programs)
        if found.mismatch:
            return self._refused(found.mismatch, signature, top_level or (), logs or ())
        reading = self._decoded(found, signature)
        reading.truncated = found.truncated and (bool(reading.unread or reading.events) or self._logged(logs or ()))
        return reading

    def _concerns(self, tx: Transaction) -> bool:
        """Whether one of the programs was invoked. A node that keeps no inner instructions can still log them."""
        programs = self._programs
        for instruction in tx.instructions:
            if instruction.program in programs:
                return True
        for called in tx.inner.values():
            for instruction in called:
                if instruction.program in programs:
                    return True
        return self._logged(tx.logs or ())

    def _hidden(self, tx: Transaction) -> Reading:
        """Of a node that keeps neither logs nor inner instructions: a program that is passed may have been called."""
        passed = [one for one in tx.accounts if one in self._programs]
        keys = [EventKey(tx.signature, program, -1, -1, 0) for program in passed]
        why = "the node kept neither logs nor inner instructions"
        return Reading([], [Quarantined(key, "logs_missing", why) for key in keys], truncated=bool(passed))

    def _logged(self, logs: Sequence[str]) -> bool:
        return any(line.startswith(self._lines) for line in logs)

    def _refused(self, why: str, signature: str, invoked: Iterable[str], logs: Sequence[str]) -> Reading:
        """Everything quarantined, once for each program that has part in it."""
        raw = "\n".join(logs).encode(errors="replace")
        logged = (line.split(" ")[1] for line in logs if line.startswith(self._lines))
        involved = sorted({one for one in (*invoked, *logged) if one in self._programs})
        keys = [EventKey(signature, program, -1, -1, 0) for program in involved]
        return Reading(quarantined=[Quarantined(key, "attribution_mismatch", why, raw) for key in keys])

    def _decoded(self, found: Walk, signature: str) -> Reading:
        reading = Reading([], [], found.truncated, found.unread)
        for outer, inner, ordinal, instruction, payload in found.emissions:
            program = instruction.program
            key = EventKey(signature, program, outer, inner, ordinal)
            raw = b""
            try:
                raw = payload if isinstance(payload, bytes) else _line(payload)
                name, data = self._programs[program].event(raw)
                reason = self._check(name, data) if self._check is not None else ""
                detail = name
            except DecodeError as error:
                raw = raw or str(payload).encode(errors="replace")
                reason, detail = error.reason, error.detail
            if reason:
                reading.quarantined.append(Quarantined(key, reason, detail, raw))
            else:
                reading.events.append(ChainEvent(key, name, data, instruction.accounts))
        return reading


def _line(text: str) -> bytes:
    """The one field of a data line as ``emit!`` writes it."""
    try:
        raw = a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise DecodeError("not_anchor_line", str(error)) from error
    if not raw:
        raise DecodeError("not_anchor_line", "an empty data line")
    return raw
