"""Text that fits: clipped, visibly, to a receiver's limits, and foreign text made harmless in its markup."""

from __future__ import annotations

import re
from collections.abc import Callable

CUT = "… (truncated)"

_DISCORD_MARKUP = re.compile(r"([\\*_~`|>\[\]()#<:@-])")


def units(text: str) -> int:
    """Length in UTF-16 code units: the largest of the ways in which receivers count characters."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def plain(text: str) -> str:
    return text


def clip(text: str, limit: int, escape: Callable[[str], str] = plain) -> str:
    """``escape(text)`` in at most ``limit`` units; a longer one is cut between characters and ends in CUT.

    ``escape`` must work character by character, so that a cut never splits what it produces.
    """
    whole = escape(text)
    if units(whole) <= limit:
        return whole
    room = max(0, limit - units(CUT))
    kept: list[str] = []
    for character in text:
        piece = escape(character)
        room -= units(piece)
        if room < 0:
            break
        kept.append(piece)
    return ("".join(kept) + CUT)[:limit]


def escape_slack(text: str) -> str:
    """The three characters that Slack's mrkdwn reserves, as entities: no mention, no link comes out of
    foreign text.
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_discord(text: str) -> str:
    """Discord's Markdown switched off by backslashes."""
    return _DISCORD_MARKUP.sub(r"\\\1", text)


def unquote(text: str) -> str:
    """Without backticks, for a block between triple backticks, where nothing else is markup."""
    return text.replace("`", "'")


def inline(text: str) -> str:
    """On one line and without backticks, for text between single backticks."""
    return " ".join(unquote(text).split())
