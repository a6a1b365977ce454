"""Recorded transactions, blocks and logs with the events they hold, as another decoder found them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from app.chain import schema
from app.chain.decode import Decoder, ProgramDecoder
from app.chain.model import ChainEvent, Reading, Transaction
from app.chain.shapes import SIZES, Array, Defined, Enum, Idl, Option, Primitive, Struct, Type, Vec
from app.chain.transactions import parse_transaction

COPIED = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "solana"


class Corpus:
    """One collection: manifest, records, blocks, expectations and IDLs, by the paths that the manifest gives."""

    def __init__(self, name: str, files: Mapping[str, Any] | Path) -> None:
        self.name = name
        self._files = files
        self.manifest = self.file("manifest.json")

    def file(self, path: str) -> Any:
        if isinstance(self._files, Path):
            return json.loads((self._files / path).read_bytes())
        return self._files[path]

    @cache  # noqa: B019
    def idl(self, path: str) -> Idl:
        return schema.load(self.file(path))

    @cache  # noqa: B019
    def decoder(self, programs: tuple[str, ...] | None = None) -> Decoder:
        """For all programs that there are IDLs of, or for some. Versions that records were made with come first."""
        idls: dict[str, list[str]] = {}
        used = [(one["program"], one["idl"]) for one in self.events() if "idl" in one]
        for program, path in [*used, *((one["program_id"], one["file"]) for one in self.manifest["idls"])]:
            if path not in idls.setdefault(program, []):
                idls[program].append(path)
        return Decoder(
            ProgramDecoder(program, *map(self.idl, paths))
            for program, paths in idls.items()
            if programs is None or program in programs
        )

    def judged(self, record: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The programs that a copied record is judged by, whose IDLs could be copied too; None for all."""
        return tuple(record["programs"]) if self.name == "copied" else None

    def events(self) -> Iterator[dict[str, Any]]:
        """Every event that is expected anywhere."""
        for record in self.manifest["records"]:
            yield from self.file(record["expected"])["events"]
        for block in self.manifest["blocks"]:
            for transaction in self.file(block["expected"])["transactions_with_events"]:
                yield from transaction["events"]


@cache
def corpora() -> list[Corpus]:
    """The copied collection, and the whole one where it lies beside the project."""
    with gzip.open(COPIED / "recorded.json.gz") as packed:
        found = [Corpus("copied", json.load(packed))]
    if SHARED.is_dir():
        found.append(Corpus("shared", SHARED))
    return found


@dataclass(frozen=True, slots=True)
class Event:
    """An event in the form of the collection. ``path``: outer and inner index; ``place`` orders those of one path."""

    program: str
    path: tuple[int, int] | None
    name: str
    data: Any


def expected(events: Sequence[Mapping[str, Any]]) -> list[Event]:
    """In canonical order; without the events for which there was no IDL."""
    found = []
    for one in events:
        if one.get("status", "decoded") == "decoded":
            path = one["instruction_path"]
            place = None if path is None else (path[0], -1 if path[1] is None else path[1])
            found.append((place or (0, 0), one.get("log_index", -1), place, one))
    found.sort(key=lambda one: one[:2])
    return [Event(one["program"], place, one["name"], one["data"]) for _, _, place, one in found]


def read(corpus: Corpus, reading: Reading, events: Sequence[Mapping[str, Any]]) -> list[Event]:
    """What was read, in the form and the order of ``expected``. The expectation says which IDL gives the types."""
    with_path = all(one["instruction_path"] is not None for one in events)
    idls = {(one["program"], one["name"]): one["idl"] for one in events if "idl" in one}
    found = [(_place(one), one) for one in reading.events]
    if with_path:
        found.sort(key=lambda one: (one[0], one[1].key.ordinal))
    return [
        Event(one.key.program, place if with_path else None, one.name, _plain(corpus, idls, one))
        for place, one in found
    ]


def _place(event: ChainEvent) -> tuple[int, int]:
    return event.key.outer, event.key.inner


def _plain(corpus: Corpus, idls: Mapping[tuple[str, str], str], event: ChainEvent) -> Any:
    path = idls.get((event.key.program, event.name))
    if path is None:
        return event.data
    idl = corpus.idl(path)
    item = next(one for one in idl.events if one.name == event.name)
    return plain(idl, item.type, event.data, legacy=".legacy." in path)


def plain(idl: Idl, type_: Type, value: Any, *, legacy: bool) -> Any:
    """``value`` by the collection's rules: integers of more than 32 bits as text, bytes as ``hex:…``; the legacy
    decoder that made it wrote variants in camel case."""
    match type_:
        case Defined(key):
            return plain(idl, idl.types[key], value, legacy=legacy)
        case Primitive("bytes"):
            return f"hex:{value.hex()}"
        case Primitive(name):
            return str(value) if name[0] in "ui" and SIZES[name] > 4 else value
        case Option(inner):
            return None if value is None else plain(idl, inner, value, legacy=legacy)
        case Vec(inner) | Array(inner):
            return [plain(idl, inner, one, legacy=legacy) for one in value]
        case Struct(None, types):
            return [plain(idl, one, part, legacy=legacy) for one, part in zip(types, value, strict=True)]
        case Struct(names, types):
            assert names is not None and tuple(value) == names
            return {
                name: plain(idl, one, part, legacy=legacy)
                for (name, part), one in zip(value.items(), types, strict=True)
            }
        case Enum(variants):
            ((name, fields),) = value.items()
            body = plain(idl, dict(variants)[name], fields, legacy=legacy)
            return {_camel(name) if legacy else name: body}


def _camel(name: str) -> str:
    return name.lower() if name.isupper() else name[:1].lower() + name[1:]


def transaction(raw: Mapping[str, Any], **about: Any) -> Transaction:
    return parse_transaction(raw, **{"slot": 1, **about})


def as_if_committed(tx: Transaction) -> Transaction:
    """A failed transaction as if its last instruction had succeeded, so that its events can be compared too."""
    logs, depth, started = [], 0, 0
    for line in tx.logs or ():
        words = line.split(" ")
        if words[0] == "Program" and words[2:3] == ["invoke"]:
            depth += 1
            started += depth == 1
        elif words[0] == "Program" and (words[2:] == ["success"] or words[2:3] == ["failed:"]):
            depth -= 1
            line = f"Program {words[1]} success"
        logs.append(line)
    return replace(tx, error=None, logs=tuple(logs), instructions=tx.instructions[:started])
