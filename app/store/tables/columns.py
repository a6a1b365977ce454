"""Column kinds shared by the tables: enums as varchar + CHECK, amounts as bigint, times with zone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB

NOW = text("now()")


def id_column(*, primary_key: bool = False, nullable: bool = False, index: bool = False) -> Column[Any]:
    return Column(String(40), primary_key=primary_key, nullable=nullable, index=index)


def name_column(length: int, *, default: str | None = None, nullable: bool = False) -> Column[Any]:
    return Column(String(length), nullable=nullable, server_default=_literal(default))


def text_column(*, nullable: bool = True) -> Column[Any]:
    return Column(Text, nullable=nullable)


def amount_column(*, nullable: bool = False, default: int | None = None) -> Column[Any]:
    """Base units of HYPER."""
    return Column(BigInteger, nullable=nullable, server_default=None if default is None else text(str(default)))


def u64_column(*, nullable: bool = False, default: int | None = None) -> Column[Any]:
    """What the chain keeps in a u64: twice as far as bigint reaches. Read back as Decimal."""
    return Column(Numeric(20, 0), nullable=nullable, server_default=None if default is None else text(str(default)))


def total_column() -> Column[Any]:
    """A sum of amounts, which may be larger than any one of them. Read back as Decimal."""
    return Column(Numeric(38, 0), nullable=False, server_default=text("0"))


def key_column(*, primary_key: bool = False, nullable: bool = False, unique: bool = False) -> Column[Any]:
    """A public key in base58."""
    return Column(String(44), primary_key=primary_key, nullable=nullable, unique=unique)


def signature_column(*, primary_key: bool = False, nullable: bool = False) -> Column[Any]:
    """A transaction's signature in base58."""
    return Column(String(88), primary_key=primary_key, nullable=nullable)


def int_column(*, default: int | None = None, nullable: bool = False) -> Column[Any]:
    return Column(Integer, nullable=nullable, server_default=None if default is None else text(str(default)))


def small_column(*, default: int) -> Column[Any]:
    return Column(SmallInteger, nullable=False, server_default=text(str(default)))


def bool_column(*, default: bool) -> Column[Any]:
    return Column(Boolean, nullable=False, server_default=text(str(default).lower()))


def time_column(*, nullable: bool = False, now: bool = False, primary_key: bool = False) -> Column[Any]:
    return Column(
        DateTime(timezone=True), nullable=nullable, server_default=NOW if now else None, primary_key=primary_key
    )


def hash_column() -> Column[Any]:
    """A sha256, 32 bytes."""
    return Column(LargeBinary(32), nullable=True)


def json_column(*, nullable: bool = False, default: str | None = "{}") -> Column[Any]:
    """JSONB, always reassigned whole."""
    return Column(JSONB, nullable=nullable, server_default=None if default is None else text(f"'{default}'::jsonb"))


def json_text_column(*, nullable: bool = False, default: str | None = "{}") -> Column[Any]:
    """JSON as it was written, for what is read whole or not at all: cheaper to store than JSONB."""
    return Column(JSON, nullable=nullable, server_default=None if default is None else text(f"'{default}'::json"))


def names_column() -> Column[Any]:
    return Column(ARRAY(String(80)), nullable=False, server_default=text("'{}'"))


def one_of(column: str, values: Iterable[str], name: str) -> CheckConstraint:
    """CHECK that ``column`` holds one of ``values``."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


def _literal(default: str | None) -> Any:
    return None if default is None else text(f"'{default}'")
