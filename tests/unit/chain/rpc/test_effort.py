"""When a request is given up, and with which words."""

from __future__ import annotations

import pytest

from app.chain.rpc.effort import Effort
from app.chain.rpc.endpoints import Endpoint, lanes
from app.chain.rpc.errors import RpcError, RpcUnavailable
from app.chain.rpc.trouble import Kind, Trouble

DOUBT = Trouble(Kind.DOUBTFUL, "failed at the request", error=RpcError(-32603, "Internal error"))


def test_tries_run_out() -> None:
    effort = Effort(3, 100.0, 0.0)
    effort.spend(1.0)
    effort.spend(2.0)
    with pytest.raises(RpcUnavailable):
        effort.spend(3.0)


def test_time_runs_out_but_not_while_we_wait_for_ourselves() -> None:
    effort = Effort(10, 5.0, 0.0)
    effort.extend(10.0)
    effort.spend(14.9)
    with pytest.raises(RpcUnavailable):
        effort.spend(15.0)


def test_an_answer_to_some_of_it_begins_anew() -> None:
    effort = Effort(2, 5.0, 0.0)
    effort.spend(1.0)
    effort.renew(4.0)
    effort.spend(8.0)
    with pytest.raises(RpcUnavailable):
        effort.spend(8.0)


def test_each_request_gets_three_nodes_failures_and_then_the_error() -> None:
    effort = Effort(6, 5.0, 0.0)
    assert [effort.verdict(0, DOUBT) for _ in range(3)] == [None, None, DOUBT.error]
    assert effort.verdict(1, DOUBT) is None
    assert effort.verdict(0, Trouble(Kind.BROKEN, "HTTP 502")) is None
    assert Effort(1, 5.0, 0.0).verdict(0, DOUBT) is DOUBT.error


def test_the_failure_names_every_endpoint_by_host_with_its_last_trouble() -> None:
    one, two = lanes([Endpoint("https://one.example/k3yk3y"), Endpoint("https://two.example/k3yk3y")], 100)
    effort = Effort(6, 5.0, 0.0)
    effort.note(one, Trouble(Kind.BROKEN, "HTTP 502"))
    effort.note(one, Trouble(Kind.TIMED_OUT, "timed out"))
    effort.note(two, Trouble(Kind.LIMITED, "HTTP 429"))
    failure = effort.failure(2.5)
    assert failure.detail == "no Solana RPC endpoint answered (one.example: timed out; two.example: HTTP 429)"
    assert (failure.retryable, failure.retry_after, failure.code) == (True, 2.5, "chain_unavailable")
