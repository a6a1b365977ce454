"""One tool: what it is called, takes and gives, how its input is read, and its JSON Schemas."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from app.core.access import Scope
from app.core.errors import InvalidInput
from tools.wording import fields_at, with_choices


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. Exactly one of ``run`` (one call) and ``run_many`` (calls that share a transaction) is set.

    ``description`` is written for a model to read; ``example`` is a valid input. ``waits``: may take long on purpose.
    ``idempotent``: calling it twice does no more than once. ``open_world``: it sets nodes of the network to work.
    """

    name: str
    description: str
    input: type[msgspec.Struct]
    output: type[msgspec.Struct]
    example: dict[str, Any]
    run: Callable[..., Awaitable[Any]] | None = None
    run_many: Callable[..., Awaitable[list[Any]]] | None = None
    scopes: tuple[Scope, ...] = (Scope.AGENT, Scope.OPERATOR)
    read_only: bool = True
    idempotent: bool = True
    destructive: bool = False
    open_world: bool = False
    waits: bool = False

    @property
    def title(self) -> str:
        """The name for people: ``Submit job``."""
        return self.name.replace("_", " ").capitalize()

    @property
    def keyed(self) -> bool:
        """Whether it takes an idempotency key."""
        return "idempotency_key" in self.input.__struct_fields__

    @property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12, no references) of the input; not to be changed."""
        return inlined_schema(self.input)

    @property
    def output_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12, no references) of the output; not to be changed."""
        return inlined_schema(self.output)

    @property
    def advice(self) -> str:
        """What to do about arguments that are wrong: a valid call, as JSON."""
        return f"A valid call: {msgspec.json.encode(self.example).decode()}"

    def parse(self, arguments: Any) -> msgspec.Struct:
        """The typed input; raises InvalidInput that names the field and shows the example."""
        if isinstance(arguments, self.input):
            return arguments
        try:
            return msgspec.convert(arguments, self.input)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(" - at `")
            field = path.rstrip("`").removeprefix("$").lstrip(".")
            detail = f"{self.name}: {with_choices(message, self.input, field)}" + (f" ({field})" if field else "")
            if message.startswith("Object contains unknown field"):
                detail += f"; it takes {', '.join(fields_at(self.input, field)) or 'no arguments'}"
            named = _FIELD_NAMED.search(message)
            if named:
                field = f"{field}.{named[1]}".lstrip(".")
            raise InvalidInput(
                detail[:500],
                field=field[:200],
                next_action=self.advice,
            ) from error


_FIELD_NAMED = re.compile(r"(?:unknown|required) field `(.*)`$", re.DOTALL)


@lru_cache(maxsize=256)
def inlined_schema(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of a struct with nothing left to look up: models follow no references. Not to be changed."""
    (schema,), components = msgspec.json.schema_components([struct], ref_template="#/{name}")

    def inline(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                found = {**components[node["$ref"].removeprefix("#/")], **node}
                del found["$ref"]
                return inline(found)
            typed = {"type": "string"} if _are_words(node.get("enum")) else {}
            return typed | {key: inline(value) for key, value in node.items()}
        return [inline(item) for item in node] if isinstance(node, list) else node

    result: dict[str, Any] = inline(schema)
    return result


def _are_words(choices: Any) -> bool:
    # Some models' APIs want a type with every enum; as the name of a property, it is no list.
    return isinstance(choices, list) and bool(choices) and all(isinstance(one, str) for one in choices)
