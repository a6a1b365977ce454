"""Availability and quotes over REST."""

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from app.core.access import Principal, Scope
from app.http.engine import Engine
from app.http.security import scoped
from tools import schemas
from tools.schemas import AvailabilityAnswer, MatchAnswer, QuoteAnswer


@get("/v1/availability", operation_id="read_availability", tags=["availability"])
async def everything(engine: NamedDependency[Engine], principal: NamedDependency[Principal]) -> AvailabilityAnswer:
    """All that is there, without any requirement."""
    answer: AvailabilityAnswer = await engine.agents.call(principal, "availability", {})
    return answer


@post("/v1/availability", operation_id="availability", tags=["availability"], status_code=200)
async def suiting(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    data: JSONBody[schemas.Availability],
) -> AvailabilityAnswer:
    """How many nodes suit these requirements, how many are free, and their prices."""
    answer: AvailabilityAnswer = await engine.agents.call(principal, "availability", data)
    return answer


@post("/v1/quotes", operation_id="quote", tags=["availability"], status_code=200)
async def quote(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[schemas.Quote]
) -> QuoteAnswer:
    """What a job with these requirements would cost. Not binding."""
    answer: QuoteAnswer = await engine.agents.call(principal, "quote", data)
    return answer


@post("/v1/match", operation_id="match", tags=["availability"], status_code=200)
async def match(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[schemas.Match]
) -> MatchAnswer:
    """The node such a job would get now and why; claims nothing."""
    answer: MatchAnswer = await engine.agents.call(principal, "match", data)
    return answer


market_router = Router("/", route_handlers=[everything, suiting, quote, match], opt=scoped(Scope.AGENT, Scope.OPERATOR))
