"""Nodes that lie, lag, forget and refuse: the cursor waits, says why, and nothing is missed when they recover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from app.chain.devchain.faults import Kind
from app.chain.rpc import Endpoint, RpcClient, RpcError, RpcUnavailable, SignatureInfo
from app.chain.scanning import ScanLimits, Stalled
from tests.integration.chain.world import World
from tests.integration.chain.world import world as new_world


async def place(world: World) -> tuple[Any, ...]:
    cursor = await world.cursor()
    return cursor["slot"], cursor["signature"]


async def test_a_transaction_that_the_node_does_not_have_holds_the_cursor(world: World) -> None:
    signatures = world.create("job-1", "job-2", "job-3")
    world.land()
    world.faults.add(Kind.NULL_TRANSACTION, signatures={signatures[1]})
    for _ in range(2):
        with pytest.raises(Stalled, match=signatures[1]):
            await world.scan()
    assert [event[0] for event in await world.told()] == [signatures[0]]
    assert (await place(world))[1] == signatures[0]
    cursor = await world.cursor()
    assert signatures[1] in cursor["stalled"]
    assert cursor["seen_slot"] < world.chain.slot_at("confirmed")
    world.faults.clear()
    await world.scan()
    assert await world.exact()
    assert (await world.cursor())["stalled"] is None


async def test_it_also_holds_a_scan_that_is_kept(database_url: str) -> None:
    """However old the transaction: a node whose history is gone must not look like a fork."""
    async with new_world(database_url, limits=ScanLimits(page=3, chunk=2, overlap_slots=2)) as world:
        world.backlog(12, per_block=2)
        world.finalize()
        missing = world.truth()
        old = min(missing, key=lambda event: event[5])
        world.faults.add(Kind.NULL_TRANSACTION, signatures={old[0]})
        for _ in range(5):
            with pytest.raises(Stalled):
                await world.scan()
            assert (await world.cursor())["scan_listed"]
        assert await world.quarantine() == []
        world.faults.clear()
        await world.scan()
        assert await world.exact()


async def test_an_empty_list_is_doubted(world: World) -> None:
    world.create("job-1")
    world.land()
    await world.scan()
    before = await place(world)
    world.create("job-2")
    world.land()
    world.faults.add(Kind.EMPTY_PAGE)
    with pytest.raises(Stalled, match="no transaction at all"):
        await world.scan()
    assert await place(world) == before
    world.faults.clear()
    assert await world.scan() == 1
    assert await world.exact()


@pytest.mark.parametrize(("page", "new"), [(2, 2), (3, 9)])
async def test_a_list_that_ends_above_the_cursor_is_doubted(database_url: str, page: int, new: int) -> None:
    """At the end of a short listing, and of one that is kept."""
    async with new_world(database_url, limits=ScanLimits(page=page, overlap_slots=1)) as world:
        world.create("job")
        world.land()
        await world.scan()
        before = await place(world)
        for number in range(new):
            world.create(f"job-{number}")
            world.land()
        world.faults.add(Kind.EMPTY_PAGE, skip=2 if new > page else 1)
        for _ in range(2):
            with pytest.raises(Stalled, match="ends above the cursor"):
                await world.scan()
            world.faults.clear()
            world.faults.add(Kind.EMPTY_PAGE, skip=0 if new > page else 1)
        assert await place(world) == before
        assert ((await world.cursor())["scan_slot"] is not None) == (new > page)
        world.faults.clear()
        await world.scan()
        assert await world.exact()


async def test_the_end_of_history_is_asked_for_again(database_url: str) -> None:
    async with new_world(database_url, limits=ScanLimits(page=3)) as world:
        world.backlog(12, per_block=2)
        # Between the first page and the others, and once more for the second try.
        world.faults.add(Kind.EMPTY_PAGE, skip=1, count=2)
        await world.scan()
        assert await world.exact()


@pytest.mark.parametrize("page", [3, 7])
async def test_an_end_of_history_that_was_none_is_noticed_later(database_url: str, page: int) -> None:
    async with new_world(database_url, limits=ScanLimits(page=page), end_waits=(0.2, 2.0)) as world:
        world.backlog(12, per_block=2)
        world.faults.add(Kind.EMPTY_PAGE, skip=1, count=3)
        async with world.listening(scan_s=0.05):
            await world.until(world.exact)
        assert not world.faults.strike(Kind.EMPTY_PAGE), "nothing was kept back"


class _Pruned(RpcClient):
    """A node that has forgotten what was before the slot ``first``."""

    first = 0

    async def call(self, method: str, params: Sequence[Any], *, min_slot: int | None = None) -> Any:
        if method == "getFirstAvailableBlock":
            return self.first
        said = await super().call(method, params, min_slot=min_slot)
        if method == "getSignatureStatuses":
            said["value"] = [one if one and one["slot"] >= self.first else None for one in said["value"]]
        return said

    async def signatures(self, address: str, **options: Any) -> list[SignatureInfo]:
        return [one for one in await super().signatures(address, **options) if one.slot >= self.first]


async def test_a_history_that_begins_behind_the_cursor_is_a_hole(world: World) -> None:
    async with _Pruned([Endpoint(world.served.url)]) as world.rpc:
        world.create("job-1")
        world.land()
        await world.scan()
        before = await place(world)
        world.create("job-2")
        world.land(80)
        world.create("job-3")
        world.land()
        world.rpc.first = 50
        with pytest.raises(Stalled, match="nothing before slot 50"):
            await world.scan()
        assert await place(world) == before
        world.rpc.first = 0
        await world.scan()
        assert await world.exact()


async def test_a_chain_that_is_far_behind_the_cursor_is_none_of_ours(world: World) -> None:
    world.create("job-1")
    world.land(100)
    world.create("job-2")
    world.land()
    await world.scan()
    scanner = await world.scanner()
    world.faults.add(Kind.LAG, value=80)
    with pytest.raises(Stalled, match="another chain"):
        await scanner.round(0, 20)
    world.faults.clear()
    # What was known of the tip may be old.
    await scanner.round(0, 20)
    assert (await world.cursor())["stalled"] is None


async def test_a_node_that_lags_delays_and_loses_nothing(world: World) -> None:
    world.create("job-1")
    world.land()
    await world.scan()
    world.create("job-2")
    world.land()
    world.faults.add(Kind.LAG, value=3)
    assert await world.scan() == 0
    # The next node it asks is not behind.
    world.create("job-3")
    world.land()
    world.faults.clear()
    assert await world.scan() == 2
    assert await world.exact()


class _Tired(RpcClient):
    """After ``fresh`` listings it speaks with a node that is behind."""

    fresh = 99

    def __init__(self, world: World) -> None:
        super().__init__([Endpoint(world.served.url)], timeout_s=5.0, tries=2)
        self._faults = world.faults

    async def signatures(self, address: str, **options: Any) -> list[SignatureInfo]:
        if self.fresh == 0:
            self._faults.add(Kind.LAG, value=40)
        self.fresh -= 1
        return await super().signatures(address, **options)


@pytest.mark.parametrize("page", [3, 20])
async def test_a_node_that_is_behind_in_the_middle_of_a_list_does_not_end_it(database_url: str, page: int) -> None:
    """To it, neither the cursor nor where the next page begins exists: as if all of that were forked out."""
    limits = ScanLimits(page=page, overlap_slots=64)
    async with new_world(database_url, limits=limits) as world, _Tired(world) as world.rpc:
        world.create("job")
        world.land()
        await world.scan()
        before = await place(world)
        for number in range(30):
            world.create(f"job-{number}")
            world.land(1)
        world.rpc.fresh = 1
        with pytest.raises(RpcUnavailable, match="has not reached the slot"):
            await world.scan()
        assert await place(world) == before
        world.rpc.fresh = 99
        world.faults.clear()
        await world.scan()
        assert await world.exact()


async def test_a_node_that_gives_garbage_alone_puts_nothing_aside(world: World) -> None:
    world.create("job-1", "job-2")
    world.land()
    world.faults.add(Kind.BAD_TRANSACTION)
    with pytest.raises(Stalled, match="no readable transactions"):
        await world.scan()
    world.faults.clear()
    await world.scan()
    # One alone: what was read before tells whose fault it is.
    (signature,) = world.create("job-3")
    world.land()
    world.faults.add(Kind.BAD_TRANSACTION)
    with pytest.raises(Stalled, match="no readable transactions"):
        await world.scan()
    assert await world.quarantine() == []
    world.faults.clear()
    world.faults.add(Kind.BAD_TRANSACTION, signatures={signature})
    await world.scan()
    assert await world.quarantine() == ["malformed_transaction"]
    # Readable after all, while it is still listed.
    world.faults.clear()
    await world.scan()
    assert await world.exact()
    assert await world.quarantine() == []


REFUSALS: list[tuple[Kind, dict[str, Any]]] = [
    (Kind.HTTP_429, {"value": "0"}),
    (Kind.RPC_429, {}),
    (Kind.RPC_32005, {}),
    (Kind.HTTP_500, {}),
    (Kind.HTTP_502, {}),
    (Kind.DROP, {}),
    (Kind.DROP_MID, {}),
    (Kind.RPC_ERROR, {"value": {"code": -32603, "message": "Internal error"}}),
]


async def test_refusals_in_every_disguise_cost_time_and_nothing_else(world: World) -> None:
    for number, (kind, options) in enumerate(REFUSALS):
        world.create(f"job-{number}")
        world.land()
        for skip in (0, 1):
            world.faults.add(kind, skip=skip, count=1, **options)
        for _ in range(10):
            try:
                await world.scan()
            except (RpcUnavailable, RpcError):
                continue
            break
        assert await world.exact(), kind
        world.faults.clear()
    assert await world.quarantine() == []
