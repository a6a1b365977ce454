"""Anchor IDLs of both generations, read into one model.

The present form (Anchor >= 0.30) writes discriminators down; the legacy form has them computed (sha256 of
``event:Name``, ``account:Name``, ``global:name_in_snake_case``). Generic types are instantiated here: what comes out
knows no type parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from app.chain.shapes import PRIMITIVES, Array, Defined, Enum, Idl, Item, Option, Primitive, Struct, Type, Vec

__all__ = ["Idl", "IdlError", "Item", "load"]

MAX_NESTING = 32
"""Types written inside one another, named ones not counted."""
MAX_TYPES = 10_000
MAX_KEY = 500
"""How many named types, and letters in the key of one: a generic type that holds ever larger instances of itself has no
end."""
MAX_ARRAY = 1 << 20


class IdlError(ValueError):
    """Not an Anchor IDL, or one with types that nothing can read; one line that says where."""


def load(document: Mapping[str, Any] | bytes | Path) -> Idl:
    """The IDL in ``document`` (parsed, JSON text, or a file). Raises IdlError."""
    if isinstance(document, Path):
        try:
            document = document.read_bytes()
        except OSError as error:
            raise IdlError(f"{error.filename}: {error.strerror}") from error
    if isinstance(document, bytes):
        try:
            document = msgspec.json.decode(document)
        except (ValueError, RecursionError) as error:
            raise IdlError(f"not JSON: {error}") from error
    return _Loader(_object(document, "the IDL")).idl()


Scope: TypeAlias = Mapping[str, "Type | int"]
_NOTHING: Scope = {}


@dataclass(slots=True)
class _Loader:
    document: Mapping[str, Any]
    raw: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)
    pending: list[tuple[str, Mapping[str, Any], Scope]] = field(default_factory=list)
    """Instances that are named somewhere and not read yet."""

    def idl(self) -> Idl:
        document = self.document
        metadata = _object(document.get("metadata") or {}, "metadata")
        name = _text(document.get("name") or metadata.get("name") or "unnamed", "name")
        for section in ("accounts", "types"):
            for one in self._section(section):
                if "type" in one:
                    self.raw[_text(one.get("name"), f"{section}: name")] = one
        found = Idl(
            name=name,
            address=_text(document.get("address") or metadata.get("address") or "", "address"),
            types=self.types,
            events=tuple(map(self._event, self._section("events"))),
            accounts=tuple(map(self._account, self._section("accounts"))),
            instructions=tuple(map(self._instruction, self._section("instructions"))),
        )
        while self.pending:
            key, body, scope = self.pending.pop()
            self.types[key] = self._body(body, scope, f"type {key}")
        return found

    def _section(self, name: str) -> Iterable[Mapping[str, Any]]:
        return [_object(one, f"{name}: an entry") for one in _array(self.document.get(name) or [], name)]

    def _event(self, raw: Mapping[str, Any]) -> Item:
        name = _text(raw.get("name"), "an event's name")
        where = f"event {name}"
        if "fields" in raw:
            body: Type = self._fields(raw["fields"], _NOTHING, where)
        else:
            body = self._defined(name, [], _NOTHING, where, 0)
        return Item(name, _discriminator(raw, f"event:{name}", where), body)

    def _account(self, raw: Mapping[str, Any]) -> Item:
        name = _text(raw.get("name"), "an account's name")
        where = f"account {name}"
        return Item(name, _discriminator(raw, f"account:{name}", where), self._defined(name, [], _NOTHING, where, 0))

    def _instruction(self, raw: Mapping[str, Any]) -> Item:
        name = _text(raw.get("name"), "an instruction's name")
        where = f"instruction {name}"
        return Item(
            name,
            _discriminator(raw, f"global:{_snake(name)}", where),
            self._fields(raw.get("args") or [], _NOTHING, where),
            tuple(_account_names(raw.get("accounts") or [], where, 0)),
        )

    def _body(self, definition: Mapping[str, Any], scope: Scope, where: str) -> Type:
        if not str(definition.get("serialization", "borsh")).startswith(("borsh", "bytemuck")):
            raise IdlError(f"{where} has a serialization of its own")
        raw = _object(definition.get("type"), where)
        kind = raw.get("kind")
        if kind == "struct":
            return self._fields(raw.get("fields") or [], scope, where)
        if kind == "enum":
            variants = [_object(one, f"{where}: a variant") for one in _array(raw.get("variants"), where)]
            if len(variants) > 256:
                raise IdlError(f"{where} has {len(variants)} variants, and one byte to tell them by")
            names = [_text(one.get("name"), f"{where}: a variant's name") for one in variants]
            return Enum(
                tuple(
                    (name, self._fields(one.get("fields") or [], scope, f"{where}: {name}"))
                    for name, one in zip(names, variants, strict=True)
                )
            )
        if kind in ("type", "alias"):
            return self._type(raw.get("alias", raw.get("value")), scope, where, 0)
        raise IdlError(f"{where} is of unknown kind {kind!r}")

    def _fields(self, raw: Any, scope: Scope, where: str) -> Struct:
        fields = _array(raw, where)
        named = [isinstance(one, dict) and "name" in one and "type" in one for one in fields]
        if not all(named):
            if any(named):
                raise IdlError(f"{where} has fields with and without names")
            return Struct(None, tuple(self._type(one, scope, where, 0) for one in fields))
        names = tuple(_text(one["name"], f"{where}: a field's name") for one in fields)
        if len(set(names)) < len(names):
            raise IdlError(f"{where} has two fields of one name")
        types = (self._type(one["type"], scope, f"{where}: {name}", 0) for name, one in zip(names, fields, strict=True))
        return Struct(names, tuple(types))

    def _type(self, raw: Any, scope: Scope, where: str, depth: int) -> Type:
        if depth > MAX_NESTING:
            raise IdlError(f"{where}: types nested deeper than {MAX_NESTING}")
        if isinstance(raw, str):
            name = "pubkey" if raw == "publicKey" else raw
            if name not in PRIMITIVES:
                raise IdlError(f"{where}: unknown type {raw!r}")
            return Primitive(name)
        if not isinstance(raw, dict) or len(raw) != 1:
            raise IdlError(f"{where}: unknown type {raw!r:.80}")
        ((form, rest),) = raw.items()
        read = _FORMS.get(form)
        if read is None:
            raise IdlError(f"{where}: unknown type {form!r}")
        return read(self, rest, scope, where, depth + 1)

    def _pair(self, raw: Any, scope: Scope, where: str, depth: int) -> Type:
        items = _array(raw, where)
        if len(items) != 2:
            raise IdlError(f"{where}: a map has a key and a value")
        return Vec(Struct(None, tuple(self._type(one, scope, where, depth) for one in items)))

    def _sized(self, raw: Any, scope: Scope, where: str, depth: int) -> Type:
        items = _array(raw, where)
        if len(items) != 2:
            raise IdlError(f"{where}: an array has a type and a length")
        length = self._length(items[1], scope, where)
        return Array(self._type(items[0], scope, where, depth), length)

    def _length(self, raw: Any, scope: Scope, where: str) -> int:
        if isinstance(raw, dict) and list(raw) == ["generic"]:
            raw = raw["generic"]
        if isinstance(raw, str):
            raw = scope.get(raw, int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 10 else None)
        if not isinstance(raw, int) or isinstance(raw, bool) or not 0 <= raw <= MAX_ARRAY:
            raise IdlError(f"{where}: {raw!r:.80} is not the length of an array")
        return raw

    def _parameter(self, raw: Any, scope: Scope, where: str, depth: int) -> Type:
        found = scope.get(raw) if isinstance(raw, str) else None
        if found is None or isinstance(found, int):
            raise IdlError(f"{where}: unknown type parameter {raw!r:.80}")
        return found

    def _named(self, raw: Any, scope: Scope, where: str, depth: int) -> Type:
        if isinstance(raw, str):
            return self._defined(raw, [], scope, where, depth)
        raw = _object(raw, where)
        arguments = raw.get("generics", raw.get("args")) or []
        return self._defined(_text(raw.get("name"), where), _array(arguments, where), scope, where, depth)

    def _defined(self, name: str, arguments: list[Any], scope: Scope, where: str, depth: int) -> Type:
        definition = self.raw.get(name)
        if definition is None:
            raise IdlError(f"{where}: type {name!r} is not defined")
        inner: dict[str, Type | int] = {}
        parameters = _array(definition.get("generics") or [], f"type {name}")
        if len(parameters) != len(arguments):
            raise IdlError(f"{where}: {name} takes {len(parameters)} type arguments, not {len(arguments)}")
        for parameter, argument in zip(parameters, arguments, strict=True):
            label = _text(parameter.get("name") if isinstance(parameter, dict) else parameter, f"type {name}")
            inner[label] = self._argument(argument, scope, where, depth + 1)
        key = f"{name}<{', '.join(map(_label, inner.values()))}>" if inner else name
        if key not in self.types:
            if len(self.types) >= MAX_TYPES or len(key) > MAX_KEY:
                raise IdlError(f"{where}: {name} holds ever more types")
            self.types[key] = _UNREAD
            self.pending.append((key, definition, inner))
        return Defined(key)

    def _argument(self, raw: Any, scope: Scope, where: str, depth: int) -> Type | int:
        if isinstance(raw, dict) and "value" in raw:
            return self._length(raw["value"], scope, where)
        if isinstance(raw, dict) and "type" in raw:
            raw = raw["type"]
        parameter = raw.get("generic") if isinstance(raw, dict) else None
        if isinstance(parameter, str) and isinstance(scope.get(parameter), int):
            return scope[parameter]
        return self._type(raw, scope, where, depth)


_UNREAD = Struct((), ())

_Form: TypeAlias = Callable[[_Loader, Any, Scope, str, int], Type]


def _wrap(make: Callable[[Type], Type]) -> _Form:
    return lambda loader, raw, scope, where, depth: make(loader._type(raw, scope, where, depth))


_FORMS: dict[str, _Form] = {
    "option": _wrap(Option),
    "coption": _wrap(lambda inner: Option(inner, wide=True)),
    "vec": _wrap(Vec),
    "hashSet": _wrap(Vec),
    "bTreeSet": _wrap(Vec),
    "hashMap": _Loader._pair,
    "bTreeMap": _Loader._pair,
    "array": _Loader._sized,
    "genericLenArray": _Loader._sized,
    "tuple": lambda loader, raw, scope, where, depth: Struct(
        None, tuple(loader._type(one, scope, where, depth) for one in _array(raw, where))
    ),
    "generic": _Loader._parameter,
    "defined": _Loader._named,
    "definedWithTypeArgs": _Loader._named,
}


def _label(type_: Type | int) -> str:
    match type_:
        case int():
            return str(type_)
        case Primitive(name) | Defined(name):
            return name
        case Option(inner, wide):
            return f"{'COption' if wide else 'Option'}<{_label(inner)}>"
        case Vec(inner):
            return f"Vec<{_label(inner)}>"
        case Array(inner, length):
            return f"[{_label(inner)}; {length}]"
        case Struct(_, types):
            return f"({', '.join(map(_label, types))})"
        case Enum():
            raise AssertionError("an enum has a name")


def _discriminator(raw: Mapping[str, Any], preimage: str, where: str) -> bytes:
    given = raw.get("discriminator")
    if given is None:
        return sha256(preimage.encode()).digest()[:8]
    values = _array(given, f"{where}: discriminator")
    if not values or not all(type(one) is int and 0 <= one < 256 for one in values):
        raise IdlError(f"{where}: a discriminator is a list of bytes")
    return bytes(values)


def _account_names(raw: Any, where: str, depth: int) -> Iterable[str]:
    if depth > MAX_NESTING:
        raise IdlError(f"{where}: accounts nested deeper than {MAX_NESTING}")
    for one in _array(raw, f"{where}: accounts"):
        entry = _object(one, f"{where}: an account")
        if "accounts" in entry:
            yield from _account_names(entry["accounts"], where, depth + 1)
        else:
            yield _text(entry.get("name"), f"{where}: an account's name")


def _snake(name: str) -> str:
    """As Anchor's macros write an instruction's name: ``createJob2`` → ``create_job2``."""
    letters = []
    for index, letter in enumerate(name):
        before, after = name[index - 1 : index], name[index + 1 : index + 2]
        if letter.isupper() and before not in ("", "_") and (not before.isupper() or after.islower()):
            letters.append("_")
        letters.append(letter.lower())
    return "".join(letters)


def _object(raw: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise IdlError(f"{where} is not an object")
    return raw


def _array(raw: Any, where: str) -> list[Any]:
    if not isinstance(raw, list):
        raise IdlError(f"{where}: a list is missing")
    return raw


def _text(raw: Any, where: str) -> str:
    if not isinstance(raw, str):
        raise IdlError(f"{where} is not a text")
    return raw
