"""Borsh (borsh.io), read by compiled code: each type becomes straight-line Python that unpacks a run of fixed-size
fields with one struct call.

Values: ints as int, pubkeys as base58, ``bytes`` as bytes, fields by name as a dict and by position as a list, an enum
as ``{"Variant": {…}}``, no option as None, sets and maps as lists (of pairs). As borsh-rs does, it refuses NaN and
collections of what has no size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from solders.pubkey import Pubkey

from app.chain.schema import IdlError
from app.chain.shapes import SIZES, Array, Defined, Enum, Option, Primitive, Struct, Type, Vec

Reader: TypeAlias = Callable[[bytes, int, int], tuple[Any, int]]
"""``read(data, offset, len(data))`` gives the value and where it ends. Raises DecodeError, or struct.error and
UnicodeDecodeError, which mean that the data is short and that its text is not UTF-8."""

MAX_DEPTH = 64
"""How deep values of a type that holds itself may nest."""
_FORMATS = {
    **dict(zip(("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"), "BbHhIiQq", strict=True)),
    "f32": "f",
    "f64": "d",
}
_UNROLLED = 16
_MAX_INDENT = 12
_MAX_INLINED = 16
_MAX_PARTS = 400


class DecodeError(ValueError):
    """``reason``: ``short``, ``trailing_bytes``, ``unknown_discriminator`` or ``invalid_value``; ``detail``: a line."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def _short() -> NoReturn:
    raise DecodeError("short", "a length points behind the end")


def _bad(what: str, value: int | float) -> NoReturn:
    raise DecodeError("invalid_value", f"{value} is no {what}")


class Compiler:
    """Compiles the types of one IDL. Raises IdlError for a type that cannot be read."""

    def __init__(self, types: Mapping[str, Type]) -> None:
        self.types = types
        self.space: dict[str, Any] = {
            "Pubkey": Pubkey,
            "unpack": struct.unpack_from,
            "short": _short,
            "bad": _bad,
        }
        self._functions: dict[Type, str] = {}
        self._least: dict[str, int] = {}
        self._fixed: dict[str, int | None] = {}

    def reader(self, type_: Type) -> Reader:
        """Reads one value of ``type_``."""
        found: Reader = self.space[self.function(type_)]
        return found

    def function(self, type_: Type) -> str:
        """The name in ``space`` of the function that reads ``type_``, made when first asked for."""
        name = self._functions.get(type_)
        if name is None:
            name = self._functions[type_] = f"read_{len(self._functions)}"
            source = _Function(self).source(name, type_)
            exec(compile(source, f"<borsh {name}>", "exec"), self.space)
        return name

    def constant(self, value: Any) -> str:
        """A name in ``space`` for ``value``."""
        name = f"c{len(self.space)}"
        self.space[name] = value
        return name

    def least(self, type_: Type) -> int:
        """The fewest bytes that a value can have."""
        match type_:
            case Primitive(name):
                return SIZES.get(name, 4)
            case Option(inner, wide):
                return 4 + self.least(inner) if wide else 1
            case Array(inner, length):
                return length * self.least(inner)
            case Struct(_, types):
                return sum(map(self.least, types))
            case Enum(variants):
                return 1 + min((self.least(one) for _, one in variants), default=0)
            case Defined(key):
                if key not in self._least:
                    self._least[key] = 0
                    self._least[key] = self.least(self.types[key])
                return self._least[key]
            case _:
                return 4

    def fixed(self, type_: Type) -> int | None:
        """How many bytes every value has, None where that differs."""
        match type_:
            case Primitive(name):
                return SIZES.get(name)
            case Option(inner, True):
                size = self.fixed(inner)
                return None if size is None else 4 + size
            case Array(inner, length):
                size = self.fixed(inner)
                return None if size is None else length * size
            case Struct(_, types):
                sizes = [self.fixed(one) for one in types]
                return None if None in sizes else sum(one for one in sizes if one is not None)
            case Enum(variants):
                return 1 if not any(one.types for _, one in variants) else None
            case Defined(key):
                if key not in self._fixed:
                    self._fixed[key] = None
                    self._fixed[key] = self.fixed(self.types[key])
                return self._fixed[key]
            case _:
                return None


@dataclass(slots=True)
class _Function:
    """Writes one function ``(b, o, n, d)``: data, offset, length, depth. What ``read`` returns is an expression that
    holds once the run of fixed-size fields it may be part of is flushed."""

    compiler: Compiler
    lines: list[str] = field(default_factory=list)
    indent: int = 1
    names: int = 0
    parts: int = 0
    """How many types it reads: named ones in named ones could double without end."""
    inlined: list[str] = field(default_factory=list)
    run: list[tuple[str, str]] = field(default_factory=list)
    """Format and variable of the fields that one struct call will unpack."""
    checks: list[str] = field(default_factory=list)

    def source(self, name: str, type_: Type) -> str:
        self.line(f"if d > {MAX_DEPTH}: bad('depth to nest to', d)")
        value = self.read(self.compiler.types[type_.key] if isinstance(type_, Defined) else type_)
        self.flush()
        self.line(f"return {value}, o")
        return "\n".join([f"def {name}(b, o, n, d=0):", *self.lines])

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def name(self) -> str:
        self.names += 1
        return f"v{self.names}"

    def take(self, form: str) -> str:
        name = self.name()
        self.run.append((form, name))
        return name

    def flush(self) -> None:
        if self.run:
            layout = struct.Struct("<" + "".join(form for form, _ in self.run))
            unpack = self.compiler.constant(layout.unpack_from)
            self.line(f"{', '.join(name for _, name in self.run)}, = {unpack}(b, o)")
            self.line(f"o += {layout.size}")
            for check in self.checks:
                self.line(check)
            self.run.clear()
            self.checks.clear()

    def read(self, type_: Type) -> str:
        self.parts += 1
        match type_:
            case Primitive(name):
                return self.primitive(name)
            case _ if self.indent > _MAX_INDENT or self.parts > _MAX_PARTS:
                return self.call(type_)
            case Defined(key):
                return self.defined(key)
            case Struct():
                return self.struct(type_)
            case Array(inner, length):
                return self.array(inner, length)
            case Vec(inner):
                return self.vec(inner)
            case Option():
                return self.option(type_)
            case Enum(variants):
                return self.enum(variants)

    def call(self, type_: Type) -> str:
        self.flush()
        name = self.name()
        self.line(f"{name}, o = {self.compiler.function(type_)}(b, o, n, d + 1)")
        return name

    def defined(self, key: str) -> str:
        if key in self.inlined or len(self.inlined) >= _MAX_INLINED:
            return self.call(Defined(key))
        self.inlined.append(key)
        value = self.read(self.compiler.types[key])
        self.inlined.pop()
        return value

    def primitive(self, name: str) -> str:
        if name in _FORMATS:
            value = self.take(_FORMATS[name])
            if name[0] == "f":
                self.checks.append(f"if {value} != {value}: bad('number', {value})")
            return value
        if name == "bool":
            value = self.take("B")
            self.checks.append(f"if {value} > 1: bad('bool', {value})")
            return f"{value} == 1"
        if name == "pubkey":
            return f"str(Pubkey({self.take('32s')}))"
        if name in SIZES:
            words = [self.take("Q") for _ in range(SIZES[name] // 8 - 1)]
            words.append(self.take("Q" if name[0] == "u" else "q"))
            return "(" + " | ".join(f"{word} << {64 * place}" for place, word in enumerate(words)) + ")"
        value = self.slice(self.take("I"))
        if name == "string":
            self.line(f"{value} = {value}.decode()")
        return value

    def slice(self, size: str) -> str:
        """The next ``size`` bytes, which may be an expression."""
        self.flush()
        value = self.name()
        self.line(f"e = o + {size}")
        self.line("if e > n: short()")
        self.line(f"{value} = b[o:e]")
        self.line("o = e")
        return value

    def struct(self, type_: Struct) -> str:
        values = [self.read(one) for one in type_.types]
        if type_.names is None:
            return f"[{', '.join(values)}]"
        return "{" + ", ".join(f"{name!r}: {value}" for name, value in zip(type_.names, values, strict=True)) + "}"

    def array(self, inner: Type, length: int) -> str:
        if inner == Primitive("u8"):
            return f"list({self.take(f'{length}s')})"
        if length == 0 or (length <= _UNROLLED and isinstance(inner, Primitive)):
            return self.struct(Struct(None, (inner,) * length))
        self.flush()
        return self.repeated(inner, str(length))

    def vec(self, inner: Type) -> str:
        length = self.take("I")
        if inner == Primitive("u8"):
            return f"list({self.slice(length)})"
        self.flush()
        return self.repeated(inner, length)

    def repeated(self, inner: Type, length: str) -> str:
        if self.compiler.fixed(inner) == 0:
            raise IdlError(f"a collection of what has no size: {inner!r:.200}")
        # What has no fixed size takes a byte at least; the sum may say less of a type that holds itself.
        least = max(1, self.compiler.least(inner))
        self.line(f"if {length} * {least} > n - o: short()")
        values = self.name()
        form = _FORMATS.get(inner.name) if isinstance(inner, Primitive) else None
        if form is not None and form not in "fd":
            self.line(f"{values} = list(unpack(f'<{{{length}}}{form}', b, o))")
            self.line(f"o += {length} * {least}")
            return values
        self.line(f"{values} = []")
        self.line(f"for _ in range({length}):")
        self.block(inner, f"{values}.append(", ")")
        return values

    def block(self, inner: Type, before: str, after: str = "") -> None:
        """An indented block that reads ``inner`` and does something with it."""
        self.indent += 1
        value = self.read(inner)
        self.flush()
        self.line(f"{before}{value}{after}")
        self.indent -= 1

    def option(self, type_: Option) -> str:
        tag = self.take("I" if type_.wide else "B")
        self.checks.append(f"if {tag} > 1: bad('tag of an option', {tag})")
        self.flush()
        value = self.name()
        self.line(f"if {tag}:")
        self.block(type_.inner, f"{value} = ")
        self.line("else:")
        self.indent += 1
        self.line(f"{value} = None")
        if type_.wide:
            size = self.compiler.fixed(type_.inner)
            if size is None:
                raise IdlError(f"a coption of what has no fixed size: {type_.inner!r:.200}")
            self.line(f"o += {size}")
            self.line("if o > n: short()")
        self.indent -= 1
        return value

    def enum(self, variants: tuple[tuple[str, Struct], ...]) -> str:
        tag = self.take("B")
        self.checks.append(f"if {tag} >= {len(variants)}: bad('variant of an enum', {tag})")
        if not any(one.types for _, one in variants):
            return f"{{{self.compiler.constant(tuple(name for name, _ in variants))}[{tag}]: {{}}}}"
        self.flush()
        value = self.name()
        for index, (name, body) in enumerate(variants):
            self.line(f"{'elif' if index else 'if'} {tag} == {index}:")
            self.block(body, f"{value} = {{{name!r}: ", "}")
        return value
