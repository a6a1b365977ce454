"""Tables for people: no value is cut off, whatever the width of the screen."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_ANY_WIDTH = 10_000


def show(table: Table) -> None:
    """Print a table without the columns that no row has anything in.

    On a terminal, values that are too long for their column go on in the next line. A file or a pipe has no width: each
    row is a line there, unless a value has several.
    """
    table.columns = [column for column in table.columns if any(column.cells)] or table.columns
    for column in table.columns:
        column.overflow = "fold"
    console = Console()
    if not console.is_terminal:
        wide = Console(width=_ANY_WIDTH)
        console.width = max(console.width, Measurement.get(wide, wide.options, table).maximum)
    console.print(table)
