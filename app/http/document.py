"""``python -m app.http.document`` prints the OpenAPI document, without any server: clients are generated from it."""

from __future__ import annotations

import json
from typing import Any

from app.http.engine import build_engine
from app.http.openapi import with_problems
from app.http.server import build_app
from app.settings import DatabaseSettings, RedisSettings, Settings


def document() -> dict[str, Any]:
    """The document as the server shows it at /schema/openapi.json."""
    # Nothing connects before an application starts, so that any address will do.
    settings = Settings(database=DatabaseSettings(url="postgresql:///"), redis=RedisSettings(url="redis://127.0.0.1"))
    return with_problems(build_app(build_engine(settings)).openapi_schema.to_schema())


if __name__ == "__main__":
    print(json.dumps(document()))
