"""Who emitted what: the log lines of a transaction, held against its instructions.

The runtime writes ``Program X invoke [n]`` and ``Program X success`` around every invocation, in the order in which
the instructions and their inner instructions are listed. Programs write their own text only behind ``Program log: ``
and ``Program data: ``, so a line that is exactly the runtime's is the runtime's. Where lines and instructions
contradict each other nothing is believed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from app.chain.lines import CONSUMED, DATA, FAILED, HEAD, INVOKED, LOG, TRUNCATED, known, meaning
from app.chain.model import Instruction

EVENT_TAG = bytes.fromhex("e445a52e51cb9a1d")
"""What ``emit_cpi!`` puts before an event in the data of a program's call to itself (sha256 of ``anchor:event``)."""

_SILENT = frozenset(
    {
        # Precompiles leave no line at all, and old runtimes wrote none for their builtin programs.
        "Ed25519SigVerify111111111111111111111111111",
        "KeccakSecp256k11111111111111111111111111111",
        "Secp256r1SigVerify1111111111111111111111111",
        "11111111111111111111111111111111",
        "AddressLookupTab1e1111111111111111111111111",
        "BPFLoader1111111111111111111111111111111111",
        "BPFLoader2111111111111111111111111111111111",
        "BPFLoaderUpgradeab1e11111111111111111111111",
        "ComputeBudget111111111111111111111111111111",
        "Config1111111111111111111111111111111111111",
        "LoaderV411111111111111111111111111111111111",
        "Stake11111111111111111111111111111111111111",
        "Vote111111111111111111111111111111111111111",
        "ZkE1Gama1Proof11111111111111111111111111111",
        "ZkTokenProof1111111111111111111111111111111",
    }
)


Emission: TypeAlias = tuple[int, int, int, Instruction, str | bytes]
"""What one of our programs emitted: outer and inner index, ordinal within the invocation (whether or not what came
before it can be decoded), instruction, and the text of a data line or the bytes behind EVENT_TAG."""


@dataclass(slots=True)
class Walk:
    """``mismatch``: why the lines cannot be believed, "" if they can. ``unread``: our invocations whose end the lines
    do not show, save those that were themselves events."""

    emissions: list[Emission] = field(default_factory=list)
    truncated: bool = False
    mismatch: str = ""
    unread: list[tuple[int, int, Instruction]] = field(default_factory=list)


class Mismatch(Exception):
    """The lines say otherwise than the instructions."""


_NO_INSTRUCTIONS: Sequence[Instruction] = ()


def walk(
    logs: Sequence[str] | None,
    instructions: Sequence[Instruction],
    inner: Mapping[int, Sequence[Instruction]],
    ours: Collection[str],
    complete: bool = True,
) -> Walk:
    """Attribute what ``ours`` emitted in a transaction that succeeded. No logs, or none where there must be some, are
    taken for truncated before the first line. Logs that are not ``complete`` may end anywhere."""
    emissions: list[Emission] = []
    done: list[_Frame] = []
    try:
        if logs:
            truncated = _follow(logs, instructions, inner, ours, emissions, done, complete)
        else:
            truncated = any(one.program not in _SILENT for one in instructions)
    except Mismatch as error:
        return Walk([], False, str(error), [])
    return Walk(emissions, truncated, "", _rest(instructions, inner, ours, emissions, done) if truncated else [])


def walk_logs(logs: Sequence[str] | None, top_level: Sequence[str] | None, ours: Collection[str]) -> Walk:
    """The same without inner instructions, and without any where ``top_level`` (programs) is None: the lines are held
    against themselves, and may end anywhere. Inner indexes are those that the lines suggest."""
    instructions = [Instruction(program, (), b"") for program in top_level or ()]
    inner: dict[int, list[Instruction]] = {}
    outer = -1
    try:
        for line in logs or ():
            kind, program, depth = meaning(line)
            if kind == TRUNCATED:
                break
            if kind == INVOKED and depth == 1:
                if top_level is None:
                    instructions.append(Instruction(program, (), b""))
                outer = _next(instructions, outer + 1, program)
            elif kind == INVOKED:
                inner.setdefault(outer, []).append(Instruction(program, (), b"", depth))
    except Mismatch as error:
        return Walk(mismatch=str(error))
    return walk(logs, instructions, inner, ours, top_level is not None)


def _next(instructions: Sequence[Instruction], at: int, program: str) -> int:
    """The index from ``at`` of the next instruction, which must be ``program``'s; those that leave no line are passed
    over."""
    for index in range(at, len(instructions)):
        listed = instructions[index].program
        if listed == program:
            return index
        if listed not in _SILENT:
            raise Mismatch(f"the logs have {program} where the transaction has {listed}")
    raise Mismatch(f"the logs have {program} where the transaction has nothing more")


def _none_left(instructions: Sequence[Instruction], at: int) -> None:
    for index in range(at, len(instructions)):
        if instructions[index].program not in _SILENT:
            raise Mismatch(f"{instructions[index].program} was invoked and is not in the logs")


class _Frame:
    """A running invocation of ours."""

    __slots__ = ("count", "inner", "instruction", "outer")

    def __init__(self, outer: int, inner: int, instruction: Instruction) -> None:
        self.outer = outer
        self.inner = inner
        self.instruction = instruction
        self.count = 0


def _follow(
    logs: Sequence[str],
    instructions: Sequence[Instruction],
    inner: Mapping[int, Sequence[Instruction]],
    ours: Collection[str],
    emissions: list[Emission],
    done: list[_Frame],
    complete: bool,
) -> bool:
    """Go through the lines and the instructions side by side: what is invoked must be the next in the list. Whether
    the logs were cut. ``done``: our invocations whose end was seen, and those that were events themselves.

    One function, for it is called for every transaction: calls and objects would take half as long again.
    """
    # The last top-level instruction invoked, the instructions it called, and the last of these invoked.
    outer, called, at = -1, _NO_INSTRUCTIONS, -1
    # Of each running invocation the program, the inner index, and the frame if it is ours; the last one's frame.
    stack: list[tuple[str, int, _Frame | None]] = []
    frame: _Frame | None = None
    for line in logs:
        head = line[:HEAD]
        if head == LOG:
            continue
        if head == DATA:
            if frame is not None:
                payload = line[HEAD + 1 :]
                emissions.append((frame.outer, frame.inner, frame.count, frame.instruction, payload))
                frame.count += 1
            elif not stack:
                raise Mismatch("a data line outside every invocation")
            continue
        said = known.get(line)
        if said is None:
            if line.endswith(CONSUMED):
                continue
            said = meaning(line)
        kind, program, depth = said
        if kind == INVOKED:
            if depth != len(stack) + 1:
                raise Mismatch(f"{program} is logged at depth {depth} behind {len(stack)} that are open")
            if depth == 1:
                if at + 1 < len(called):
                    _none_left(called, at + 1)
                outer += 1
                if outer == len(instructions) or instructions[outer].program != program:
                    outer = _next(instructions, outer, program)
                instruction, called, at = instructions[outer], inner.get(outer, _NO_INSTRUCTIONS), -1
            else:
                at += 1
                if at == len(called) or called[at].program != program:
                    at = _next(called, at, program)
                instruction = called[at]
                if instruction.height != depth and instruction.height is not None:
                    raise Mismatch(f"{program} is logged at depth {depth} and listed at {instruction.height}")
            caller, frame = frame, None
            if program in ours:
                frame = _Frame(outer, at, instruction)
                if instruction.data.startswith(EVENT_TAG):
                    done.append(frame)
                    if caller is not None and caller.instruction.program == program:
                        emissions.append((outer, at, 0, instruction, instruction.data[len(EVENT_TAG) :]))
                        frame.count = 1
            stack.append((program, at, frame))
        elif kind <= FAILED:
            if not stack or stack[-1][0] != program:
                raise Mismatch(f"{program} is logged to end and is not the one that runs")
            first = (outer, stack.pop()[1])
            if frame is not None:
                done.append(frame)
            frame = stack[-1][2] if stack else None
            if kind == FAILED:
                # Its caller went on; what it did, and all it called, was rolled back. That is listed behind it, and
                # nothing else has run since.
                if not stack:
                    raise Mismatch(f"{program} is logged to fail in a transaction that succeeded")
                emissions[:] = [one for one in emissions if one[:2] < first]
        elif kind == TRUNCATED:
            return True
    if complete:
        if stack:
            raise Mismatch("the logs end inside an invocation")
        _none_left(called, at + 1)
        _none_left(instructions, outer + 1)
    return False


def _rest(
    instructions: Sequence[Instruction],
    inner: Mapping[int, Sequence[Instruction]],
    ours: Collection[str],
    emissions: list[Emission],
    done: Sequence[_Frame],
) -> list[tuple[int, int, Instruction]]:
    """Our invocations that the lines do not show to their end. Of these, events need no lines."""
    shown = {(frame.outer, frame.inner) for frame in done}
    unread = []
    for outer, at, instruction, caller in _invocations(instructions, inner):
        program = instruction.program
        if program not in ours or (outer, at) in shown:
            continue
        if not instruction.data.startswith(EVENT_TAG) or (caller is None and at >= 0):
            unread.append((outer, at, instruction))
        elif caller is not None and caller.program == program:
            emissions.append((outer, at, 0, instruction, instruction.data[len(EVENT_TAG) :]))
    return unread


def _invocations(
    instructions: Sequence[Instruction], inner: Mapping[int, Sequence[Instruction]]
) -> Iterator[tuple[int, int, Instruction, Instruction | None]]:
    """Every invocation in order, with its caller: None for top-level ones and where it cannot be told."""
    for outer, instruction in enumerate(instructions):
        yield outer, -1, instruction, None
        callers: dict[int, Instruction] = {1: instruction}
        for index, called in enumerate(inner.get(outer, ())):
            height = called.height
            yield outer, index, called, None if height is None else callers.get(height - 1)
            if height is not None:
                callers[height] = called
