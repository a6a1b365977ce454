"""The table of docs/configuration.md; ``python -m app.settings docs/configuration.md`` renews it."""

from __future__ import annotations

from app.settings.leaves import describe

BEGIN = "<!-- settings: begin (generated; edit app/settings/tree.py) -->"
END = "<!-- settings: end -->"


def table() -> str:
    """All settings as a Markdown table."""
    lines = ["| setting | environment | default | meaning |", "|---|---|---|---|"]
    for row in describe():
        names = "<br>".join(f"`{name}`" for name in row.env.split(", "))
        lines.append(f"| `{row.path}` | {names} | `{row.default}` | {row.meaning} |")
    return "\n".join(lines)


def updated(page: str) -> str:
    """The page with its table replaced by today's; raises ValueError when it lacks the two marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"
