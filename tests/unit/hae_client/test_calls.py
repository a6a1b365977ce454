"""What is sent, what is made of answers, and what is refused before anything is sent."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from hae_client import (
    AsyncClient,
    BadRequest,
    BudgetExceeded,
    Client,
    InvalidArgument,
    NotFound,
    ServerError,
    TooMany,
    UnreadableAnswer,
    calls,
)
from hae_client.config import access
from hae_client.errors import ApiError, api_error, sentences
from hae_client.sync_channel import Channel

PROBLEM = (
    b'{"type":"/problems/x","title":"X","status":422,"detail":"gpus: too many","code":"invalid_input",'
    b'"retryable":false,'
    b'"retry_after":null,"next_action":"Ask for less.","field":"gpus","errors":[{"field":"gpus","detail":"too many"}],'
    b'"asked_hyper":"1.5"}'
)


def test_submissions_get_a_key_that_is_kept_and_their_own_where_they_have_one() -> None:
    call = calls.submit({"type": "render"})
    assert call.request()["headers"]["Idempotency-Key"] == call.request()["headers"]["Idempotency-Key"] == call.key
    assert call.key != calls.submit({"type": "render"}).key
    own = calls.submit({"type": "render", "idempotency_key": "mine"})
    assert (own.key, own.body) == ("mine", {"type": "render"})
    assert calls.submit_plan({"tasks": []}).body["idempotency_key"].startswith("hae_client-")
    assert calls.rerun("job_1", {"priority": 2}).key


def test_many_jobs_go_in_calls_of_a_thousand() -> None:
    made = list(calls.submissions(({"type": "render"} for _ in range(2_001)), "mine"))
    assert [(first, len(call.body["jobs"]), call.key) for first, call in made] == [
        (0, 1000, "mine/0"),
        (1000, 1000, "mine/1000"),
        (2000, 1, "mine/2000"),
    ]
    assert list(calls.submissions([], "")) == []


@pytest.mark.parametrize("job_id", ["", ".", ".."])
def test_an_id_that_would_address_something_else_is_refused(job_id: str) -> None:
    for build in (calls.get, calls.cancel, calls.history, calls.get_plan, calls.cancel_plan, calls.delete_schedule):
        with pytest.raises(InvalidArgument, match="is needed, such as"):
            build(job_id)
    assert calls.get("a/../b?c").path == "/v1/jobs/a%2F..%2Fb%3Fc"


def test_nobody_cancels_everything_by_leaving_something_out() -> None:
    for job_ids, conditions in (([], {}), (["job_1"], {"state": ["pending"]}), ([], {"state": []})):
        with pytest.raises(InvalidArgument, match="name jobs"):
            calls.cancel_many(job_ids, conditions)
    assert calls.cancel_many([], {"type": ["render"]}).body == {"filter": {"type": ["render"]}}


def test_a_problem_becomes_the_error_of_its_kind() -> None:
    with pytest.raises(BadRequest, match=r"invalid_input: gpus: too many\. Ask for less") as told:
        calls.get("job_1").read(422, PROBLEM)
    error = told.value
    assert (error.status, error.code, error.field, error.retryable) == (422, "invalid_input", "gpus", False)
    assert (error.problem.errors[0].detail, error.members["asked_hyper"]) == ("too many", "1.5")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.detail, again.members) == (BadRequest, error.detail, error.members)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(403, "budget_exceeded", BudgetExceeded), (404, "not_found", NotFound), (429, "quota_exceeded", TooMany)],
)
def test_codes_and_statuses_have_classes(status: int, code: str, kind: type[ApiError]) -> None:
    content = PROBLEM.replace(b"422", str(status).encode()).replace(b"invalid_input", code.encode())
    assert type(api_error(status, content)) is kind


def test_an_answer_of_a_proxy_is_told_for_what_it_is() -> None:
    bad = api_error(502, b"<html>Bad gateway</html>")
    assert (type(bad), bad.code, bad.retryable, bad.retry_after) == (ServerError, "http_502", True, None)
    assert api_error(503, b"", "7").retry_after == 7.0
    moved = api_error(301, b"")
    assert (moved.retryable, moved.next_action) == (False, "Check the URL of the server.")
    with pytest.raises(UnreadableAnswer, match="GET /v1/jobs/job_1"):
        calls.get("job_1").read(200, b"<html>")


def test_what_a_newer_server_adds_is_passed_over() -> None:
    content = b'{"job_id":"job_1","state":"thinking","created":true,"mood":"good"}'
    assert calls.submit({"type": "render"}).read(201, content).state == "thinking"


def test_what_is_no_json_is_refused_here() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in (object(), endless, {1: 2, (3, 4): 5}):
        with pytest.raises(InvalidArgument, match="cannot be sent"):
            calls.submit({"type": "render", "input": {"x": value}}).request()


def test_where_the_server_is_comes_from_arguments_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPERNODE_API_URL", raising=False)
    monkeypatch.delenv("HYPERNODE_API_KEY", raising=False)
    assert access().url == "http://127.0.0.1:3002"
    assert access().headers() == {}
    monkeypatch.setenv("HYPERNODE_API_URL", "https://one.example/base/")
    monkeypatch.setenv("HYPERNODE_API_KEY", " hae_env\n")
    assert (access().url, access().key) == ("https://one.example/base", "hae_env")
    assert access("http://two.example", "hae_given").headers() == {"Authorization": "Bearer hae_given"}
    assert "hae_given" not in repr(access("http://two.example", "hae_given"))


@pytest.mark.parametrize(
    "url",
    ["hypernode.example", "ftp://x", "http://", "http://x:y", "http://x:0", "http://u:p@x", "http://x?a=1", "//x"],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match="server's URL"):
        Client(url, "key")


def test_a_key_that_is_none_is_refused_and_not_quoted() -> None:
    for key in ("hae_ä", "hae_a b", "hae_a\nb"):
        with pytest.raises(InvalidArgument) as told:
            Client("http://x", key)
        assert "hae_" not in str(told.value)


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(AsyncClient) - {"aclose"} == public(Client) - {"close"}
    assert public(Channel) < public(Client)


def test_sentences_are_closed_once() -> None:
    assert sentences("too many", "Ask for less.") == "too many. Ask for less."
    assert sentences("How?", "Ask.") == "How? Ask."
    assert (sentences("alone", ""), sentences("", "")) == ("alone", "")
