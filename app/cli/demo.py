"""`hae demo`: the whole engine on a real trace."""

from __future__ import annotations

import typer


def add_to(cli: typer.Typer) -> None:
    return None
