"""HTML of the Scalar, Swagger UI and ReDoc pages, and the route that serves their vendored assets.

The pages load nothing from another host: the assets lie in ``vendor/`` (NOTICE.md says what they are), the
viewers' own calls home are switched off in their settings, and the content security policy lets a browser
enforce it.
"""

from __future__ import annotations

import functools
import gzip
import html
import json
from importlib import resources
from typing import Any

from litestar import Request, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.params import FromPath

SCHEMA_PATH = "/schema"
ASSETS_PATH = f"{SCHEMA_PATH}/assets"

SCALAR_JS = "scalar-1.72.1.js"
SWAGGER_JS = "swagger-ui-5.35.0.js"
SWAGGER_CSS = "swagger-ui-5.35.0.css"
REDOC_JS = "redoc-2.5.4.js"

_MEDIA_TYPES = {
    SCALAR_JS: "text/javascript",
    SWAGGER_JS: "text/javascript",
    SWAGGER_CSS: "text/css",
    REDOC_JS: "text/javascript",
}

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='4' fill='%23151b2e'/%3E"
    "%3Cpath d='M4 4v8M12 4v8M4 8h8' stroke='%2364ffda' stroke-width='2' fill='none'/%3E%3C/svg%3E"
)

_SCALAR_SETTINGS = {
    "url": f"{SCHEMA_PATH}/openapi.json",
    "theme": "default",
    "withDefaultFonts": False,
    "telemetry": False,
    # Without a value, requests from the page travel through the vendor's proxy.
    "proxyUrl": "",
    "agent": {"disabled": True},
    "mcp": {"disabled": True},
    "hideClientButton": True,
    "showDeveloperTools": "never",
    "persistAuth": False,
}
_SWAGGER_SETTINGS = {
    "url": f"{SCHEMA_PATH}/openapi.json",
    "dom_id": "#viewer",
    "deepLinking": True,
    "validatorUrl": None,
    "persistAuthorization": False,
}
_REDOC_SETTINGS = {
    "hideDownloadButton": False,
    # Its search worker is built from a blob, which stays on this host; the system's fonts replace the web
    # fonts.
    "theme": {
        "typography": {
            "fontFamily": "system-ui, sans-serif",
            "headings": {"fontFamily": "system-ui, sans-serif"},
        }
    },
}


class _Viewer(OpenAPIRenderPlugin):
    """One viewer page: some markup, its assets, and the script that starts it."""

    def __init__(self, path: str, *, scripts: str, body: str, start: str, styles: str = "") -> None:
        super().__init__(path=path)
        self._assets = f'<script src="{ASSETS_PATH}/{scripts}"></script>'
        self._styles = f'<link rel="stylesheet" href="{ASSETS_PATH}/{styles}">' if styles else ""
        self._body = body
        self._start = start

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        title = html.escape(openapi_schema["info"]["title"])
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f"<title>{title}</title>"
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<link rel="icon" href="{_ICON}">{self._styles}'
            "<style>body { margin: 0 }</style></head>"
            f"<body>{self._body}<noscript>This page needs JavaScript; the document itself is at "
            f'<a href="{SCHEMA_PATH}/openapi.json">{SCHEMA_PATH}/openapi.json</a>.</noscript>'
            f"{self._assets}<script>{self._start}</script></body></html>"
        ).encode()


def viewers() -> list[OpenAPIRenderPlugin]:
    """Scalar at the root of the schema path, Swagger UI at /swagger, ReDoc at /redoc."""
    return [
        _Viewer(
            "/",
            scripts=SCALAR_JS,
            body='<div id="viewer"></div>',
            start=f"Scalar.createApiReference('#viewer', {json.dumps(_SCALAR_SETTINGS)})",
        ),
        _Viewer(
            "/swagger",
            scripts=SWAGGER_JS,
            styles=SWAGGER_CSS,
            body='<div id="viewer"></div>',
            start=f"SwaggerUIBundle({json.dumps(_SWAGGER_SETTINGS)})",
        ),
        _Viewer(
            "/redoc",
            scripts=REDOC_JS,
            body='<div id="viewer"></div>',
            start=(
                f"Redoc.init('{SCHEMA_PATH}/openapi.json', {json.dumps(_REDOC_SETTINGS)}, "
                "document.getElementById('viewer'))"
            ),
        ),
    ]


@functools.cache
def _packed(name: str) -> bytes:
    return (resources.files("app.http.pages") / "vendor" / f"{name}.gz").read_bytes()


@get("/{name:str}", include_in_schema=False, sync_to_thread=True)
def asset(name: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
    """A vendored asset, gzipped as it is stored; its version is in its name, so it may be kept for ever."""
    if name not in _MEDIA_TYPES:
        raise NotFoundException(detail="There is no such asset.")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    content = _packed(name)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        content = gzip.decompress(content)
    return Response(content, media_type=_MEDIA_TYPES[name], headers=headers)


def static_router(opt: dict[str, Any] | None = None) -> Router:
    """Serves the vendored assets under ``ASSETS_PATH``; ``opt`` is the router's."""
    return Router(ASSETS_PATH, route_handlers=[asset], include_in_schema=False, opt=opt or {})
