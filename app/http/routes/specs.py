"""Specs by content: store what a job is to do, create the job on chain under its hash, and the engine runs it."""

from typing import Any

import msgspec
from litestar import Response, Router, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.core.access import Principal, Scope
from app.http.engine import Engine
from app.http.security import scoped
from app.services import specs
from tools.answers import stamp
from tools.jobs import submission_of
from tools.schemas import JobSpec
from tools.specs import spec_of


class SpecStored(msgspec.Struct, kw_only=True):
    """``requirements_hash``: sha256 of the spec's canonical JSON (RFC 8785), for the job on chain to carry.

    ``created`` is false when the spec was there already.
    """

    requirements_hash: str
    created: bool


class StoredSpec(msgspec.Struct, kw_only=True):
    """``spec``: the request, without the fields that were at their defaults."""

    requirements_hash: str
    spec: dict[str, Any]
    created_at: str


@put("/v1/specs", operation_id="put_spec", status_code=201)
async def store(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[JobSpec]
) -> Response[SpecStored]:
    """Store a spec under the hash of its content, before a job with that hash is created on chain.

    201 when it is new, 200 when it was there. The hash is lower-case hex sha256 of the body as canonical JSON
    (RFC 8785: sorted keys, no whitespace), with fields at their defaults left out.
    """
    principal.rights.require_tool("submit_job")
    submission = submission_of(engine.agents.context, principal, data)
    spec_hash, created = await specs.put(engine.db, principal, spec_of(data), submission)
    return Response(
        SpecStored(requirements_hash=spec_hash, created=created),
        status_code=201 if created else 200,
        headers={"Location": f"/v1/specs/{spec_hash}"},
    )


@get("/v1/specs/{requirements_hash:str}", operation_id="get_spec")
async def read(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], requirements_hash: FromPath[str]
) -> StoredSpec:
    """A spec that your account stored first; operators see everyone's."""
    row = await specs.get(engine.db, principal, requirements_hash)
    return StoredSpec(requirements_hash=row.hash, spec=row.body["spec"], created_at=stamp(row.created_at))


specs_router = Router("/", route_handlers=[store, read], tags=["jobs"], opt=scoped(Scope.AGENT, Scope.OPERATOR))
