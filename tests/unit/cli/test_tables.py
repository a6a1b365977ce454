"""Tables keep every value whole, and leave out what nobody has."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from rich.table import Table

from app.cli.tables import show

LONG = "job_01jd3k5m7p9r1t3v5x7z9b1d3f"


def table() -> Table:
    made = Table("id", "account", *(f"column {number}" for number in range(8)))
    for number in range(3):
        made.add_row(f"{LONG}{number}", "", *(f"value {number} of {each}" for each in range(8)))
    return made


def test_a_row_is_a_line_where_there_is_no_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show(table())
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if f"{LONG}1" in line]
    assert "value 1 of 7" in row
    assert not any("account" in line or "…" in line for line in lines)


def test_a_screen_gets_its_width_and_still_every_letter(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"COLUMNS": "80", "FORCE_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    show(table())
    printed = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, printed.splitlines())) == 80
    # Folded texts stand column by column: all letters are there.
    whole = "".join(str(cell) for column in table().columns for cell in (column.header, *column.cells))
    assert Counter(filter(str.isalnum, printed)) == Counter(filter(str.isalnum, whole.replace("account", "")))


def test_without_rows_the_columns_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    show(Table("id", "account"))
    assert "account" in capsys.readouterr().out
