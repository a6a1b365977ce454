"""The client can be taken by itself: nothing of the engine, and of others only httpx and msgspec."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"app", "graphs", "tools", "agent_plugins", "migrations"}:
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
before = set(sys.modules)
import hae_client
with hae_client.Client("http://127.0.0.1:1", "key"):
    pass
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


def test_it_imports_without_the_engine() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split()) - set(sys.stdlib_module_names)
    ours = {"hae_client", "httpx", "msgspec"}
    assert ours <= loaded
    # What httpx itself brings, some of it only where it is installed.
    of_httpx = {
        "anyio", "certifi", "h11", "httpcore", "idna", "sniffio", "typing_extensions", "socksio", "click", "rich",
        "pygments", "brotli", "brotlicffi", "zstandard", "h2", "hpack", "hyperframe", "trio", "markdown_it", "mdurl",
    }  # fmt: skip
    assert {name for name in loaded - ours - of_httpx if not name.startswith("_")} == set()
