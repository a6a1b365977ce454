"""Discord's message for an event, built with the classes of discord-webhook and never sent by them.

Limits (discord.com/developers/docs/resources/message): content 2,000 characters, 10 embeds, 6,000
characters in all embeds; an embed's title 256, description 4,096, field name 256, field value 1,024, 25
fields.
"""

from __future__ import annotations

import json
from typing import Any

from discord_webhook import DiscordEmbed, DiscordWebhook

from app.core.deliveries import Event
from app.webhooks.summary import Summary, Tone, summarise
from app.webhooks.text import clip, escape_discord, inline, unquote

MAX_CONTENT, MAX_EMBEDS, MAX_TOTAL = 2000, 10, 6000
_MAX_TITLE, _MAX_VALUE, _MAX_FIELDS = 256, 200, 10
_MAX_DESCRIPTION = 3000
_COLOURS: dict[Tone, int] = {"good": 0x2E7D32, "bad": 0xC62828, "neutral": 0x455A64}
_SENT = ("content", "embeds", "allowed_mentions")


def build(event: Event) -> bytes:
    """The JSON body: one line of content and one embed, within all limits, mentioning nobody."""
    summary = summarise(event)
    message = DiscordWebhook(url="", content=_content(summary), allowed_mentions={"parse": []})
    message.add_embed(_embed(event, summary))
    body = {key: value for key, value in message.json.items() if key in _SENT}
    # The classes fill in every attribute they know; Discord wants what is meant.
    body["embeds"] = [{key: value for key, value in embed.items() if value} for embed in body["embeds"]]
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _content(summary: Summary) -> str:
    subject = next((_code(value) for label, value in summary.facts if label in ("Job", "Node")), "")
    return clip(f"**{summary.title}** {subject}".strip(), MAX_CONTENT)


def _embed(event: Event, summary: Summary) -> Any:
    embed = DiscordEmbed(
        title=clip(summary.title, _MAX_TITLE),
        description=_description(event, summary),
        color=_COLOURS[summary.tone],
        timestamp=event.at,
    )
    for label, value in summary.facts[:_MAX_FIELDS]:
        embed.add_embed_field(name=label, value=_code(value), inline=True)
    embed.set_footer(text=clip(event.id, 64))
    # set_footer adds keys without a value.
    embed.footer = {"text": embed.footer["text"]}
    return embed


def _description(event: Event, summary: Summary) -> str:
    if not summary.text:
        return ""
    if "error" in event.data:
        return f"```\n{clip(unquote(summary.text), _MAX_DESCRIPTION)}\n```"
    return clip(summary.text, _MAX_DESCRIPTION, escape_discord)


def _code(value: str) -> str:
    return f"`{clip(inline(value), _MAX_VALUE)}`"
