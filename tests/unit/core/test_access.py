from __future__ import annotations

import pytest

from app.core.access import Principal, Scope
from app.core.errors import Forbidden


def principal(*scopes: Scope) -> Principal:
    return Principal("key_1", "acme", frozenset(scope.value for scope in scopes))


def test_one_of_the_scopes_is_enough_and_none_is_not() -> None:
    principal(Scope.NODE).require(Scope.AGENT, Scope.NODE)
    with pytest.raises(Forbidden, match="scope agent or operator") as refused:
        principal(Scope.NODE).require(Scope.AGENT, Scope.OPERATOR)
    assert refused.value.next_action


def test_operators_see_every_account() -> None:
    assert principal(Scope.AGENT, Scope.NODE).sees == "acme"
    assert principal(Scope.OPERATOR).sees is None
