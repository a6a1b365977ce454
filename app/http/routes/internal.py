"""For operators only: the standing of nodes."""

from typing import Annotated

import msgspec
from litestar import Router, put
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from app.core.access import Principal, Scope
from app.core.errors import InvalidInput
from app.core.money import parse_hyper
from app.http.engine import Engine
from app.http.security import scoped
from app.services import nodes
from app.services.nodes import Standing
from tools.schemas import Input


class NodeStanding(Input, kw_only=True):
    """What the network knows of a node beyond what the node says of itself."""

    node_id: Annotated[str, Meta(min_length=1, max_length=40)]
    reputation: Annotated[int, Meta(ge=0, le=1000)]
    stake_hyper: Annotated[str, Meta(max_length=40, description="HYPER as a decimal string")] = "0"
    jobs_completed: Annotated[int, Meta(ge=0, le=2_000_000_000)] = 0
    jobs_failed: Annotated[int, Meta(ge=0, le=2_000_000_000)] = 0


class Updated(msgspec.Struct):
    updated: int


class Standings(Input, kw_only=True):
    nodes: Annotated[list[NodeStanding], Meta(min_length=1, max_length=1_000)]


@put("/internal/nodes/standing", operation_id="set_standing", tags=["operators"])
async def standing(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[Standings]
) -> Updated:
    """Set reputation, stake and counts of nodes, until the chain tells them. Unknown ids are refused as a whole."""
    given = [
        Standing(
            one.node_id,
            one.reputation,
            parse_hyper(one.stake_hyper, f"nodes[{index}].stake_hyper"),
            one.jobs_completed,
            one.jobs_failed,
        )
        for index, one in enumerate(data.nodes)
    ]
    if len({one.node_id for one in given}) < len(given):
        raise InvalidInput("a node is named twice", field="nodes")
    return Updated(await nodes.set_standing(engine.db, given))


internal_router = Router("/", route_handlers=[standing], opt=scoped(Scope.OPERATOR))
