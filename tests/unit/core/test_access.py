from __future__ import annotations

import pytest

from app.core.access import ALL, Principal, Rights, Scope
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


def test_a_key_without_rights_of_its_own_may_do_all_that_its_scopes_say() -> None:
    assert principal(Scope.AGENT).rights == ALL
    ALL.require_tool("submit_job")
    ALL.require_job_type("render")


def test_what_a_key_may_not_do_is_refused_with_what_it_may() -> None:
    rights = Rights(tools=frozenset({"quote", "get_job"}), job_types=frozenset({"render"}))
    assert rights.may_call("quote") and not rights.may_call("submit_job")
    rights.require_tool("get_job")
    rights.require_job_type("render")
    for one in ("watch_job", "wait_job"):
        Rights(tools=frozenset({one})).require_following()
    with pytest.raises(Forbidden):
        rights.require_following()
    with pytest.raises(Forbidden) as tool:
        rights.require_tool("submit_job" * 20)
    assert tool.value.code == "tool_not_allowed" and len(tool.value.detail) < 120
    assert "get_job, quote" in tool.value.next_action
    with pytest.raises(Forbidden) as kind:
        rights.require_job_type("llm_inference")
    assert (kind.value.code, kind.value.field) == ("job_type_not_allowed", "type")
    assert "It may submit render" in kind.value.next_action
