"""Attempts to make the server call itself or its network: each must end before a connection is made."""

from __future__ import annotations

import asyncio

import pytest

from app.core.deliveries import Event
from app.webhooks.endpoints import Endpoint
from app.webhooks.guard import Guard, Resolver
from app.webhooks.outcome import Verdict
from app.webhooks.sender import Limits, Sender
from tests.support.receiver import Answer, Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

LOOPBACK_FORMS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "127。0。0。1",
    "localhost",
    "LOCALHOST",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
]
INWARD = [
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2001::1]",
]


def custom(url: str) -> Endpoint:
    return Endpoint("ops", "custom", url, SECRET)


@pytest.mark.parametrize("host", LOOPBACK_FORMS)
async def test_no_spelling_of_loopback_is_dialled(strict: Sender, event: Event, host: str) -> None:
    async with Receiver() as receiver:
        outcome = await strict.send(custom(f"http://{host}:{receiver.port}/"), event)
        assert receiver.connections == 0
    assert outcome.verdict is Verdict.DEAD
    assert "not public" in outcome.reason


@pytest.mark.parametrize("host", INWARD)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_inward_address_is_dialled(strict: Sender, event: Event, scheme: str, host: str) -> None:
    outcome = await strict.send(custom(f"{scheme}://{host}/latest/meta-data/"), event)
    assert outcome.verdict is Verdict.DEAD
    assert "not public" in outcome.reason


async def test_a_name_on_loopback_is_dialled_only_when_allowed(sender: Sender, strict: Sender, event: Event) -> None:
    async with Receiver() as receiver:
        endpoint = custom(receiver.url(host="localhost"))
        assert (await strict.send(endpoint, event)).verdict is Verdict.DEAD
        assert receiver.connections == 0
        assert (await sender.send(endpoint, event)).verdict is Verdict.DELIVERED
        assert receiver.received[0].headers["host"] == f"localhost:{receiver.port}"


async def test_a_name_is_resolved_once_and_that_address_is_dialled(event: Event) -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    async with Receiver() as receiver, Sender(Guard(["127.0.0.0/8"], resolve=rebinding)) as sender:
        endpoint = custom(f"http://rebind.example:{receiver.port}/")
        assert (await sender.send(endpoint, event)).verdict is Verdict.DELIVERED
        assert receiver.received[0].headers["host"] == f"rebind.example:{receiver.port}"
    assert asked == ["rebind.example"]


async def test_the_next_address_is_tried_when_the_first_is_dead(event: Event) -> None:
    async def two(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async with Receiver() as receiver, Sender(Guard(["127.0.0.0/8"], resolve=two)) as sender:
        outcome = await sender.send(custom(f"http://two.example:{receiver.port}/"), event)
        assert outcome.verdict is Verdict.DELIVERED
        assert receiver.connections == 1


async def test_a_redirect_inwards_is_not_followed(sender: Sender, event: Event) -> None:
    async with Receiver(Answer(302, {"location": "http://169.254.169.254/"})) as receiver:
        outcome = await sender.send(custom(receiver.url()), event)
    assert (outcome.verdict, outcome.status_code) == (Verdict.RETRY, 302)


async def test_proxies_of_the_environment_are_ignored(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiver() as proxy, Receiver() as receiver:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))
            monkeypatch.setenv(name.upper(), proxy.url(""))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with Sender(Guard(["127.0.0.0/8"])) as sender:
            assert (await sender.send(custom(receiver.url()), event)).verdict is Verdict.DELIVERED
        assert proxy.connections == 0


async def test_tls_names_the_host_and_not_the_address(event: Event) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with Receiver() as receiver, Sender(Guard(["127.0.0.0/8"], resolve=resolve)) as sender:
        outcome = await sender.send(custom(f"https://hooks.example:{receiver.port}/"), event)
        (hello,) = receiver.first_bytes
    assert b"hooks.example" in hello
    assert outcome.verdict is Verdict.RETRY
    assert not receiver.received


async def test_a_refusal_does_not_use_up_the_pool(strict: Sender, event: Event) -> None:
    for _ in range(strict.limits.concurrency + 5):
        assert (await strict.send(custom("http://127.0.0.1:9/"), event)).verdict is Verdict.DEAD


async def test_concurrent_look_ups_of_a_name_share_one() -> None:
    resolver = Resolver()
    found = await asyncio.gather(*(resolver("localhost", 80) for _ in range(50)))
    resolver.close()
    assert all(addresses == found[0] for addresses in found)
    assert "127.0.0.1" in found[0]


async def test_ports_can_be_limited(event: Event) -> None:
    async with Receiver() as receiver, Sender(Guard(["127.0.0.0/8"], ports=[443]), Limits()) as sender:
        outcome = await sender.send(custom(receiver.url()), event)
        assert receiver.connections == 0
    assert outcome.verdict is Verdict.DEAD
