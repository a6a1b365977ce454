"""The parameters that routes are known to take are those that the framework reads."""

from __future__ import annotations

from typing import Any

import msgspec

from app.http.engine import build_engine
from app.http.queries import query_parameters
from app.http.server import build_app
from app.settings import Settings


def test_every_route_takes_what_it_is_known_to_take() -> None:
    settings = msgspec.convert({"database": {"url": "postgresql://h/d"}, "redis": {"url": "redis://h"}}, Settings)
    app = build_app(build_engine(settings))
    seen = 0
    for route in app.routes:
        handlers: dict[str, Any] = getattr(route, "route_handler_map", {})
        for handler, kwargs in handlers.values():
            read = {parameter.field_alias for parameter in kwargs.expected_query_params}
            assert set(query_parameters(handler)) == read, route.path
            seen += len(read)
    assert seen > 20
