"""The canonical form of a job's spec, whose hash a job on chain carries as its requirements_hash."""

from __future__ import annotations

from typing import Any

import msgspec

from app.services.canonical import canonical_json, content_hash, sorted_json
from tools.schemas import JobSpec


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


_DEFAULTS = [(field.name, _default(field)) for field in msgspec.structs.fields(JobSpec)]


def spec_of(asked: JobSpec) -> dict[str, Any]:
    """What was asked for: the request's fields as they were given, those at their defaults left out."""
    return {name: value for name, default in _DEFAULTS if (value := getattr(asked, name)) != default}


def canonical_spec(asked: JobSpec) -> bytes:
    """The spec's one spelling: spec_of as JSON by RFC 8785 (sorted keys, no whitespace, UTF-8)."""
    # Only the input holds floats, or keys of the caller's own.
    return (canonical_json if asked.input else sorted_json)(spec_of(asked))


def requirements_hash(asked: JobSpec) -> str:
    """sha256 of canonical_spec, in lower-case hex.

    It tells requests apart as they were written: a price of "0.5" is not one of "0.50", and models keep their order.
    """
    return content_hash(canonical_spec(asked))
