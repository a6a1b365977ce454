"""The command line of the generator."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from hae_client.generate.models import models_source
from hae_client.generate.sync import sync_source

PACKAGE = Path(__file__).parent.parent


def formatted(source: str) -> str:
    """As the project's formatter has it, imports in order. Raises CalledProcessError on what is no Python."""
    name = str(PACKAGE / "generated.py")
    for command in (["check", "--select", "I", "--fix"], ["format"]):
        line = [sys.executable, "-m", "ruff", *command, "--quiet", "--stdin-filename", name, "-"]
        source = subprocess.run(line, input=source, capture_output=True, text=True, check=True).stdout
    return source


def sources(document: str) -> dict[str, str]:
    """The generated modules by file name, of an OpenAPI document as JSON."""
    made = {"models.py": models_source(json.loads(document))}
    for name in ("aio.py", "aio_channel.py"):
        source = (PACKAGE / name).read_text(encoding="utf-8")
        made[name.replace("aio", "sync")] = sync_source(name, source)
    return {name: formatted(source) for name, source in made.items()}


def main() -> None:
    """Write them into the package."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m hae_client.generate DOCUMENT  (a file of JSON, - = standard input)")
    given = sys.argv[1]
    document = sys.stdin.read() if given == "-" else Path(given).read_text(encoding="utf-8")
    for name, source in sources(document).items():
        (PACKAGE / name).write_text(source, encoding="utf-8")
        print(f"written: {PACKAGE / name}")


if __name__ == "__main__":
    main()
