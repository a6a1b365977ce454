"""Prints the table of all settings, or brings the one in the page named as argument up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from app.settings.document import table, updated

if len(sys.argv) > 1:
    page = Path(sys.argv[1])
    page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")
else:
    print(table())
