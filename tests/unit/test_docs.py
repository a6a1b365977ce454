"""What the pages have people export may stand beside `hae`, which refuses names it does not know."""

from __future__ import annotations

import re
from pathlib import Path

from app.settings.leaves import NOT_SETTINGS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "app" / "http" / "openapi.py"]


def test_commands_of_the_pages_use_variables_that_hae_knows() -> None:
    used = {name: page.name for page in PAGES for name in re.findall(r"\$\{?(HAE_\w+)", page.read_text("utf-8"))}
    known = NOT_SETTINGS | set(re.findall(r"`(HAE_[A-Z_]+)`", (ROOT / "docs" / "configuration.md").read_text("utf-8")))
    assert {name: page for name, page in used.items() if name not in known} == {}
