"""Whose turn it is, who rests, and that no address gets out."""

from __future__ import annotations

import pytest

from app.chain.rpc.endpoints import Endpoint, Lane, check_url, lanes, pick
from app.chain.rpc.errors import RpcError
from app.chain.rpc.trouble import Kind, Trouble
from app.core.errors import InvalidInput

BROKEN = Trouble(Kind.BROKEN, "HTTP 502")
DROPPED = Trouble(Kind.DROPPED, "broke off")
LIMITED = Trouble(Kind.LIMITED, "HTTP 429", 30.0)


def pair() -> list[Lane]:
    return lanes([Endpoint("https://one.example/"), Endpoint("https://two.example/")], 100)


def rested(lane: Lane, now: float) -> float:
    return now + lane.rest_s(now)


def test_the_first_is_preferred_and_comes_back_after_its_rest() -> None:
    one, two = pair()
    assert pick([one, two], 0.0) is one
    assert one.blame(LIMITED, 0.0, 1.0)
    assert one.rest_s(1.0) == 30.0
    assert pick([one, two], 1.0) is two
    assert pick([one, two], 30.9) is two
    assert pick([one, two], 31.0) is one


def test_nobody_is_asked_while_all_rest() -> None:
    one, two = pair()
    one.blame(LIMITED, 0.0, 0.0)
    two.blame(LIMITED, 0.0, 5.0)
    assert pick([one, two], 6.0) is None
    assert pick([one, two], 30.0) is one


def test_who_cannot_answer_this_request_is_passed_over() -> None:
    one, two = pair()
    assert pick([one, two], 0.0, {one}) is two
    assert pick([one, two], 0.0, {one, two}) is None


def test_who_is_back_from_a_rest_is_tried_by_one_request_at_a_time() -> None:
    one, two = pair()
    one.blame(LIMITED, 0.0, 0.0)
    one.busy = 1
    assert pick([one, two], 31.0) is two
    # Better two than none.
    assert pick([one], 31.0) is one
    one.busy = 0
    assert pick([one, two], 31.0) is one
    one.busy = 1
    one.praise(31.0)
    assert pick([one, two], 31.0) is one


def test_rests_grow_with_every_trouble_up_to_a_cap_and_end_with_an_answer() -> None:
    longest = []
    for _ in range(50):
        (lane, _), now, rests = pair(), 0.0, []
        for _ in range(12):
            lane.blame(BROKEN, now, now)
            rests.append(lane.rest_s(now))
            now = rested(lane, now)
        longest.append(rests)
    most = [max(each) for each in zip(*longest, strict=True)]
    assert most[0] <= 0.5
    assert most[1] <= 1.0
    assert 10.0 < most[-1] <= 30.0
    lane.praise(now)
    assert lane.troubles == 0
    lane.blame(BROKEN, now, now)
    assert lane.rest_s(now) <= 0.5


def test_requests_that_set_off_together_fail_as_one() -> None:
    (lane, _) = pair()
    for _ in range(8):
        lane.blame(BROKEN, 0.0, 10.0)
    assert lane.troubles == 8 - 7
    # What set off before the trouble says nothing about now.
    assert not lane.praise(5.0)
    assert lane.troubles == 1
    # But a wait that was asked for holds.
    lane.blame(LIMITED, 0.0, 10.0)
    assert lane.rest_s(10.0) == 30.0


def test_a_first_drop_of_the_connection_is_forgiven() -> None:
    (lane, _) = pair()
    assert not lane.blame(DROPPED, 0.0, 0.0)
    assert lane.rest_s(0.0) == 0.0
    assert lane.blame(DROPPED, 0.0, 0.0)
    assert lane.troubles == 2


def test_trouble_and_its_end_are_news_once() -> None:
    (lane, _) = pair()
    assert lane.blame(BROKEN, 0.0, 0.0)
    assert not lane.blame(BROKEN, 1.0, 1.0)
    assert lane.praise(2.0)
    assert not lane.praise(3.0)
    assert lane.blame(BROKEN, 4.0, 4.0)


def test_batches_shrink_by_halves_for_a_while() -> None:
    (lane, _) = pair()
    assert lane.batch(0.0) == 100
    lane.shrink(100, 0.0)
    assert lane.batch(0.0) == 50
    lane.shrink(50, 0.0)
    # One that was under way when the size was learnt.
    lane.shrink(100, 0.0)
    assert lane.batch(0.0) == 25
    for size in (25, 12, 6, 3, 2):
        lane.shrink(size, 0.0)
    assert lane.batch(299.0) == 1
    assert lane.batch(300.0) == 100


def test_a_batch_is_no_more_than_a_second_of_the_budget() -> None:
    (lane,) = lanes([Endpoint("https://one.example/", 10.5)], 100)
    assert lane.batch(0.0) == 10
    (slow,) = lanes([Endpoint("https://one.example/", 0.1)], 100)
    assert slow.batch(0.0) == 1


KEY = "https://user:hunter22@node.example:8899/v2/k3yk3yk3y?api-key=s3cr3ts3cr3t#"


def test_no_part_of_an_address_but_its_host_is_shown() -> None:
    endpoint = Endpoint(KEY)
    assert repr(endpoint) == "Endpoint('node.example:8899', requests_per_s=0)"
    same, again = lanes([endpoint, endpoint], 100)
    assert (same.name, again.name) == ("node.example:8899", "node.example:8899 #2")


def test_a_node_that_quotes_the_address_is_not_quoted() -> None:
    (lane,) = lanes([Endpoint(KEY)], 100)
    said = RpcError(-32000, f"denied: {KEY} (k3yk3yk3y, s3cr3ts3cr3t, hunter22)", {"a": 1})
    cleaned = lane.clean(said)
    assert cleaned.data == {"a": 1}
    for text in (cleaned.message, str(cleaned), repr(cleaned)):
        assert "denied" in text
        assert not [secret for secret in ("k3yk3yk3y", "s3cr3t", "hunter22") if secret in text]


def test_credentials_travel_in_a_header() -> None:
    (lane,) = lanes([Endpoint("http://us%40er:p%3Ass@node.example:8899/x?y=z")], 100)
    assert str(lane.target.url) == "http://node.example:8899/x?y=z"
    headers = dict(lane.target.headers)
    assert headers[b"Authorization"] == b"Basic dXNAZXI6cDpzcw=="
    assert headers[b"Host"] == b"node.example:8899"


@pytest.mark.parametrize("url", ["https://n.example", "http://127.0.0.1:8899/", "http://[::1]:8899/a?b=c"])
def test_a_good_url_is_given_back(url: str) -> None:
    assert check_url(url, "solana.rpc_url", ("https", "http")) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "n.example",
        "ftp://n.example",
        "ws://n.example",
        "HTTP//n.example",
        "http://",
        "http:///s3cr3t",
        "http://:8899/s3cr3t",
        "http://n.example:0/s3cr3t",
        "http://n.example:65536/s3cr3t",
        "http://n.example:x/s3cr3t",
        "http://n.example/s3 cr3t",
        "http://n.example/s3cr3t\n",
        "http://[::1/s3cr3t",
        "http://n.example/#s3cr3t",
    ],
)
def test_a_bad_url_is_one_clear_line_without_it(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_url(url, "solana.rpc_url", ("https", "http"))
    assert caught.value.detail == (
        "solana.rpc_url: expected a URL that begins with https:// or http:// and names a host"
    )
    assert caught.value.field == "solana.rpc_url"


def test_no_endpoint_at_all_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no endpoint"):
        lanes([], 100)
