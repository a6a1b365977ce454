from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import re
import shutil
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar, get, post
from litestar.params import FromPath, JSONBody

from app.http.body import Input, StrictRequest
from app.http.openapi import openapi_config, static_router
from app.http.problems import exception_handlers
from tests.http.live import serving

PAGES = ["/schema", "/schema/swagger", "/schema/redoc"]
VENDOR = resources.files("app.http.pages") / "vendor"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Order(Input):
    gpu: str


class Receipt(msgspec.Struct):
    id: str


@post("/v1/jobs", tags=["jobs"], operation_id="submit_job")
async def submit(data: JSONBody[Order]) -> Receipt:
    """Submit a job for </script> matching."""
    return Receipt(data.gpu)


@get("/v1/jobs/{job_id:str}", tags=["jobs"], operation_id="get_job")
async def read(job_id: FromPath[str]) -> Receipt:
    """Read a job."""
    return Receipt(job_id)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = Litestar(
        [submit, read, static_router()],
        openapi_config=openapi_config(),
        exception_handlers=exception_handlers(),
        request_class=StrictRequest,
        logging_config=None,
    )
    async with serving(app) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url) as client:
        yield client


class _Links(HTMLParser):
    """Collects what a browser would load for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [
            value or ""
            for name, value in attrs
            if name in {"src", "srcset", "data", "poster"} or (name == "href" and tag == "link")
        ]


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_names_only_assets_of_this_server(client: httpx.AsyncClient, page: str) -> None:
    response = await client.get(page)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "http:" not in policy
    assert "https:" not in policy

    links = _Links()
    links.feed(response.text)
    assets = [link for link in links.loaded if not link.startswith("data:")]
    assert assets
    assert all(re.fullmatch(r"/schema/assets/[a-z0-9.-]+", asset) for asset in assets), assets
    inline = re.sub(r'"data:[^"]*"', "", response.text)
    assert "//" not in inline, "an absolute address is left in the page"
    for asset in assets:
        answer = await client.get(asset)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].split(";")[0] in {"text/javascript", "text/css"}


async def test_assets_are_served_packed_or_plain(client: httpx.AsyncClient) -> None:
    packed = await client.get("/schema/assets/redoc-2.5.4.js")
    assert packed.headers["content-encoding"] == "gzip"
    plain = await client.get("/schema/assets/redoc-2.5.4.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == packed.content
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("name", ["NOTICE.md", "redoc-2.5.4.js.gz", "..%2Fviewers.py", "nothing.js"])
async def test_nothing_but_the_assets_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/schema/assets/{name}")).status_code == 404


def test_every_vendored_file_is_the_one_the_notice_names() -> None:
    rows = re.findall(r"^\| ([a-z0-9.-]+) \| .* \| ([0-9a-f]{64}) \|$", (VENDOR / "NOTICE.md").read_text(), re.M)
    found = {
        file.name.removesuffix(".gz"): hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest()
        for file in VENDOR.iterdir()
        if file.name.endswith(".gz")
    }
    assert found == dict(rows)
    for licence in re.findall(r"(?:LICENSE|NOTICE)\.[a-z.-]+\.txt", (VENDOR / "NOTICE.md").read_text()):
        assert (VENDOR / licence).is_file()


async def test_the_document_tells_about_keys_and_errors(client: httpx.AsyncClient) -> None:
    response = await client.get("/schema/openapi.json")
    document: dict[str, Any] = response.json()
    assert document["security"] == [{"apiKey": []}]
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    assert [tag["name"] for tag in document["tags"]] == ["jobs"]
    assert "Idempotency-Key" in document["info"]["description"]
    responses = document["paths"]["/v1/jobs"]["post"]["responses"]
    assert set(responses) == {"201", "default"}
    assert responses["default"]["content"]["application/problem+json"]["schema"]["$ref"].endswith("/Problem")
    assert "retry_after" in document["components"]["schemas"]["Problem"]["required"]


async def test_the_yaml_document_is_served(client: httpx.AsyncClient) -> None:
    response = await client.get("/schema/openapi.yaml")
    assert response.status_code == 200
    assert "operationId: submit_job" in response.text
    assert "application/problem+json" in response.text


async def browse(address: str, folder: Path) -> tuple[str, str, list[str]]:
    """Opens a page in Chromium: its DOM after loading, the console, and every address the page asked for."""
    assert CHROMIUM is not None
    log = folder / "net.json"
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={folder / 'profile'}",
        # No name resolves: a request to another host is seen in the log, and goes nowhere.
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        f"--log-net-log={log}",
        "--enable-logging=stderr",
        "--virtual-time-budget=20000",
        "--dump-dom",
        address,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(120):
            dom, console = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    events = json.loads(log.read_text())["events"]
    requests = [event["params"] for event in events if {"url", "initiator"} <= set(event.get("params", {}))]
    # The browser's own calls (updates, accounts) have no page as their initiator.
    asked = [request["url"] for request in requests if request["initiator"] != "not an origin"]
    lines = [line for line in console.decode(errors="replace").splitlines() if ":CONSOLE" in line]
    return dom.decode(errors="replace"), "\n".join(lines), asked


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("page", PAGES)
async def test_a_real_browser_shows_the_page_and_asks_no_other_host(url: str, page: str, tmp_path: Path) -> None:
    dom, console, asked = await browse(url + page, tmp_path)
    assert "Hypernode Automation Engine" in dom
    assert "Submit once, even over a bad network" in dom
    assert "jobs" in dom
    # What the policy stops never becomes a request: the console tells of it.
    assert "Content Security Policy" not in console
    assert "rror" not in console
    assert f"{url}/schema/openapi.json" in asked
    assert all(address.startswith((f"{url}/", "data:", "blob:")) for address in asked), asked
