"""What the runtime says with a line of a transaction's log."""

from __future__ import annotations

LOG = "Program log: "
DATA = "Program data:"
HEAD = 13
"""The length of both."""
CONSUMED = " compute units"
"""The end of a line that every invocation has, and that says nothing here."""

INVOKED, SUCCEEDED, FAILED, TRUNCATED, OTHER = range(5)
"""Up to FAILED they begin or end an invocation."""
_OTHER = (OTHER, "", 0)

known: dict[str, tuple[int, str, int]] = {}
"""Meanings of lines seen lately: the same few are in almost every transaction."""
_MAX_KNOWN = 10_000


def meaning(line: str) -> tuple[int, str, int]:
    """What the runtime says with a line: kind, program, depth of an invocation."""
    found = known.get(line)
    if found is None:
        found = _meaning(line.split(" "), line)
        if found[0] in (INVOKED, SUCCEEDED) and len(line) < 100:
            if len(known) >= _MAX_KNOWN:
                known.clear()
            known[line] = found
    return found


def _meaning(words: list[str], line: str) -> tuple[int, str, int]:
    if words[0] != "Program":
        return (TRUNCATED, "", 0) if line == "Log truncated" else _OTHER
    if len(words) == 3 and words[2] == "success":
        return SUCCEEDED, words[1], 0
    if len(words) == 4 and words[2] == "invoke":
        depth = words[3][1:-1]
        if words[3] == f"[{depth}]" and depth.isascii() and depth.isdigit() and depth[0] != "0" and len(depth) < 4:
            return INVOKED, words[1], int(depth)
    elif len(words) > 3 and words[2] == "failed:":
        return FAILED, words[1], 0
    return _OTHER
