"""How refusals are put together for people."""

from __future__ import annotations

from app.core.errors import sentences


def test_sentences_are_closed_once() -> None:
    assert sentences("too many", "Ask for less.") == "too many. Ask for less."
    assert sentences("How?", "Ask.") == "How? Ask."
    assert (sentences("alone", ""), sentences("", "")) == ("alone", "")
