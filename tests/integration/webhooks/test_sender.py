"""The client against receivers that behave, misbehave and try to be led astray, over real sockets."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from app.core.deliveries import Event
from app.webhooks import discord, payloads, signing, slack
from app.webhooks.endpoints import Endpoint
from app.webhooks.guard import Guard
from app.webhooks.outcome import Outcome, Verdict
from app.webhooks.sender import MAX_ANSWER_BYTES, Limits, Sender
from tests.support.receiver import Answer, Received, Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def custom(url: str, name: str = "ops") -> Endpoint:
    return Endpoint(name, "custom", url, SECRET)


async def test_a_custom_endpoint_gets_the_signed_payload(sender: Sender, event: Event) -> None:
    async with Receiver() as receiver:
        outcome = await sender.send(custom(receiver.url("/in?a=b")), event)
    assert outcome == Outcome(Verdict.DELIVERED, status_code=200)
    (request,) = receiver.received
    assert (request.method, request.path) == ("POST", "/in?a=b")
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.headers["webhook-id"] == event.id
    assert request.body == payloads.build(event)
    assert signing.verify(SECRET, request.headers, request.body, time.time())


@pytest.mark.parametrize(("kind", "build"), [("discord", discord.build), ("slack", slack.build)])
async def test_chats_get_their_message_unsigned(sender: Sender, event: Event, kind: Any, build: Any) -> None:
    async with Receiver(Answer(204)) as receiver:
        outcome = await sender.send(Endpoint("chat", kind, receiver.url()), event)
    assert outcome.verdict is Verdict.DELIVERED
    (request,) = receiver.received
    assert request.body == build(event)
    assert not [name for name in request.headers if name.startswith("webhook-")]


async def test_a_retry_keeps_its_id_and_body(sender: Sender, event: Event) -> None:
    answers = [Answer(500), Answer(200)]
    async with Receiver(lambda _: answers.pop(0)) as receiver:
        endpoint = custom(receiver.url())
        assert (await sender.send(endpoint, event)).verdict is Verdict.RETRY
        assert (await sender.send(endpoint, event)).verdict is Verdict.DELIVERED
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(sender: Sender, event: Event, status: int) -> None:
    async with Receiver() as other, Receiver(Answer(status, {"location": other.url()})) as receiver:
        outcome = await sender.send(custom(receiver.url()), event)
        assert other.connections == 0
    assert (outcome.verdict, outcome.status_code) == (Verdict.RETRY, status)


async def test_gone_disables(sender: Sender, event: Event) -> None:
    async with Receiver(Answer(410)) as receiver:
        assert (await sender.send(custom(receiver.url()), event)).verdict is Verdict.DISABLED


async def test_a_rate_limit_is_honoured_without_asking_again(sender: Sender, event: Event) -> None:
    async with Receiver(Answer(429, {"retry-after": "30"})) as receiver:
        endpoint = custom(receiver.url())
        first = await sender.send(endpoint, event)
        assert (first.verdict, first.retry_after_s) == (Verdict.RETRY, 30.0)
        assert 0 < sender.wait_s(endpoint) <= 30
        second = await sender.send(endpoint, event)
        assert second.verdict is Verdict.RETRY
        assert len(receiver.received) == 1
        assert sender.wait_s(custom(receiver.url(), "another")) == 0


async def test_discord_says_when_in_the_body(sender: Sender, event: Event) -> None:
    body = b'{"message":"You are being rate limited.","retry_after":12.5,"global":false}'
    async with Receiver(Answer(429, body=body)) as receiver:
        outcome = await sender.send(Endpoint("chat", "discord", receiver.url()), event)
    assert outcome.retry_after_s == 12.5


@pytest.mark.parametrize("kind", ["custom", "discord", "slack"])
async def test_a_bad_gateways_html_is_a_retry(sender: Sender, event: Event, kind: Any) -> None:
    html = Answer(502, {"content-type": "text/html"}, b"<html><h1>502 Bad Gateway</h1>\xff\xfe")
    async with Receiver(html) as receiver:
        endpoint = Endpoint("e", kind, receiver.url(), SECRET if kind == "custom" else "")
        outcome = await sender.send(endpoint, event)
    assert (outcome.verdict, outcome.status_code) == (Verdict.RETRY, 502)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"220 smtp.example ESMTP\r\n",
        b"HTTP/1.1 200\r",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 700000 X\r\n\r\n",
        b"\x00\xff\x16\x03" * 100,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
    ],
)
async def test_what_is_not_http_is_a_retry(sender: Sender, event: Event, raw: bytes) -> None:
    async with Receiver(Answer(raw=raw)) as receiver:
        outcome = await sender.send(custom(receiver.url()), event)
    assert outcome.verdict is Verdict.RETRY
    assert outcome.status_code is None


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZZ\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
        b"HTTP/1.0 200\r\n\r\n",
    ],
)
async def test_a_good_status_with_a_broken_body_is_delivered(sender: Sender, event: Event, raw: bytes) -> None:
    async with Receiver(Answer(raw=raw)) as receiver:
        assert (await sender.send(custom(receiver.url()), event)).verdict is Verdict.DELIVERED


async def test_a_huge_body_is_not_read_to_its_end(sender: Sender, event: Event) -> None:
    endless = Answer(500, body=b"x" * 65536, endless=True)
    async with Receiver(endless) as receiver:
        outcome = await sender.send(custom(receiver.url()), event)
        assert (outcome.verdict, outcome.status_code) == (Verdict.RETRY, 500)
        # Sent is what was read and what the kernel's buffers on both sides took, and then no more.
        await receiver.idle()
    assert receiver.sent_bytes < MAX_ANSWER_BYTES + 16 * 2**20


async def test_a_receiver_that_never_answers_times_out(event: Event) -> None:
    never = Answer(wait_for=asyncio.Event())
    async with Receiver(never) as receiver, Sender(Guard(["127.0.0.0/8"]), Limits(read_s=0.05)) as hasty:
        outcome = await hasty.send(custom(receiver.url()), event)
    assert outcome == Outcome(Verdict.RETRY, "receiver timed out")


async def test_a_head_that_drips_is_cut_off_by_the_total_time(event: Event) -> None:
    """Each piece comes within the read time-out; only the total one ends it."""
    drip = Answer(raw=b"HTTP/1.1 100 Continue\r\n\r\n", endless=True, drip_s=0.01)
    async with Receiver(drip) as receiver, Sender(Guard(["127.0.0.0/8"]), Limits(total_s=0.2)) as hasty:
        outcome = await hasty.send(custom(receiver.url()), event)
    assert outcome == Outcome(Verdict.RETRY, "receiver timed out")


async def test_a_body_that_drips_does_not_undo_a_delivery(event: Event) -> None:
    slow = Answer(200, body=b"x", endless=True, drip_s=0.01)
    async with Receiver(slow) as receiver, Sender(Guard(["127.0.0.0/8"]), Limits(total_s=0.2)) as hasty:
        outcome = await hasty.send(custom(receiver.url()), event)
    assert outcome.verdict is Verdict.DELIVERED


async def test_nobody_listening_is_a_retry(sender: Sender, event: Event) -> None:
    async with Receiver() as receiver:
        url = receiver.url()
    assert await sender.send(custom(url), event) == Outcome(Verdict.RETRY, "receiver could not be reached")


async def test_a_name_that_does_not_exist_is_a_retry(sender: Sender, event: Event) -> None:
    outcome = await sender.send(custom("http://nowhere.invalid/"), event)
    assert outcome == Outcome(Verdict.RETRY, "receiver could not be reached")


async def test_one_endpoint_takes_no_more_than_its_share(event: Event) -> None:
    go = asyncio.Event()
    limits = Limits(per_endpoint=3, concurrency=4)
    async with (
        Receiver(Answer(wait_for=go)) as slow,
        Receiver() as quick,
        Sender(Guard(["127.0.0.0/8"]), limits) as sender,
    ):
        waiting = [asyncio.create_task(sender.send(custom(slow.url(), "slow"), event)) for _ in range(10)]
        await slow.until(3)
        assert (await sender.send(custom(quick.url(), "quick"), event)).verdict is Verdict.DELIVERED
        assert slow.most_in_flight == 3
        go.set()
        outcomes = await asyncio.gather(*waiting)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
    assert slow.most_in_flight == 3


async def test_slack_is_sent_one_at_a_time_and_then_paced(sender: Sender, event: Event) -> None:
    async with Receiver() as receiver:
        endpoint = Endpoint("chat", "slack", receiver.url())
        assert sender.capacity(endpoint) == 1
        assert sender.wait_s(endpoint) == 0
        await sender.send(endpoint, event)
        assert sender.wait_s(endpoint) > 0


async def test_cancelling_leaves_the_sender_usable(event: Event) -> None:
    limits = Limits(per_endpoint=1, concurrency=1)
    answers = [Answer(wait_for=asyncio.Event()), Answer()]
    async with (
        Receiver(lambda _: answers.pop(0)) as receiver,
        Sender(Guard(["127.0.0.0/8"]), limits) as sender,
    ):
        stuck = asyncio.create_task(sender.send(custom(receiver.url()), event))
        await receiver.until(1)
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
        assert stuck.cancelled()
        assert (await sender.send(custom(receiver.url()), event)).verdict is Verdict.DELIVERED


async def test_neither_url_nor_secret_is_logged(
    sender: Sender, strict: Sender, event: Event, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers: list[Answer] = [Answer(200), Answer(500), Answer(410), Answer(raw=b"junk")]

    def answer(_: Received) -> Answer:
        return answers.pop(0)

    outcomes = []
    async with Receiver(answer) as receiver:
        endpoint = custom(receiver.url("/s3cr3t-path"))
        outcomes += [await sender.send(endpoint, event) for _ in range(4)]
        outcomes.append(await strict.send(endpoint, event))
    outcomes.append(await sender.send(endpoint, event))
    told = caplog.text + repr(outcomes)
    assert "evt_1" in caplog.text
    for credential in ("s3cr3t", SECRET, SECRET.removeprefix("whsec_")):
        assert credential not in told
