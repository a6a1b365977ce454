"""What is generated is what the generator makes of the API as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.http.document import document
from hae_client.generate.__main__ import PACKAGE, sources
from hae_client.generate.models import ANSWERED, SENT, models_source

COMMAND = "python -m app.http.document | python -m hae_client.generate -"


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return document()


def test_the_client_is_that_of_this_api(api: dict[str, Any]) -> None:
    stale = [
        name
        for name, source in sources(json.dumps(api)).items()
        if (PACKAGE / name).read_text(encoding="utf-8") != source
    ]
    assert not stale, f"{', '.join(stale)} of hae_client are stale; run: {COMMAND}"


def test_every_change_of_a_type_is_seen(api: dict[str, Any]) -> None:
    before = models_source(api)
    api = json.loads(json.dumps(api))
    schemas = api["components"]["schemas"]
    schemas["JobSummary"]["properties"]["mood"] = {"type": "string"}
    assert "mood: str" not in before
    assert "    mood: str | None = None\n" in models_source(api)
    schemas["JobSummary"]["required"].append("mood")
    assert "    mood: str\n" in models_source(api)
    del schemas["Quote"]
    with pytest.raises(KeyError, match="Quote"):
        models_source(api)


def test_forms_of_schemas() -> None:
    """One field of each form that the document has, sent and answered."""
    reference = {"$ref": "#/components/schemas/Colour"}
    forms = {
        "plain": {"type": "integer", "default": 3, "description": "How many"},
        "from": {},
        "maybe": {"oneOf": [{"type": "number"}, {"type": "null"}]},
        "also": {"type": ["string", "null"]},
        "many": {"type": "array", "items": {"type": "string"}},
        "open": {"type": "object", "additionalProperties": {}},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "colour": {"allOf": [reference]},
        "inline": {"type": "string", "enum": ["a", "b"]},
    }
    sendable = {name: form for name, form in forms.items() if name != "from"}
    empty = {"type": "object", "properties": {}}
    schemas: dict[str, Any] = dict.fromkeys((*SENT, *ANSWERED), empty)
    schemas |= {
        "Colour": {"type": "string", "enum": ["red", "blue"]},
        "Quote": {"type": "object", "required": ["plain"], "properties": sendable},
        "QuoteAnswer": {"type": "object", "required": ["plain", "from"], "properties": forms},
    }
    made = models_source({"components": {"schemas": schemas}})
    sent = made.split("class Quote(")[1].split("\n\n\n")[0]
    answered = made.split("class QuoteAnswer(")[1].split("\n\n\n")[0]
    assert "Colour = Literal['red', 'blue']" in made
    for line in (
        "    # How many; default 3\n    plain: Required[int]\n",
        "    maybe: float | None\n",
        "    also: str | None\n",
        "    colour: Colour\n",
        "    inline: Literal['a', 'b']",
    ):
        assert line in sent
    for line in (
        "    plain: int\n",
        '    from_: Any = msgspec.field(name="from")\n',
        "    maybe: float | None = None\n",
        "    many: list[str] = []\n",
        "    open: dict[str, Any] = {}\n",
        "    counts: dict[str, int] = {}\n",
        "    colour: str | None = None\n",
        "    inline: str | None = None",
    ):
        assert line in answered
