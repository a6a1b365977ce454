"""Slack's message for an event, built with the blocks of slack_sdk.models and never sent by the SDK.

Limits (docs.slack.dev/reference/block-kit/blocks): 50 blocks, header 150 characters, section 3,000, ten
fields of 2,000 in a section.
"""

from __future__ import annotations

import json

from slack_sdk.models.blocks import (
    Block,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from app.core.deliveries import Event
from app.webhooks.summary import Summary, summarise
from app.webhooks.text import clip, escape_slack, inline, unquote

MAX_BLOCKS, MAX_SECTION, MAX_FIELDS = 50, 3000, 10
_MAX_HEADER, _MAX_VALUE, _MAX_TEXT = 150, 500, 2900
_MARKS = {"good": "✅", "bad": "❌", "neutral": "•"}


def build(event: Event) -> bytes:
    """The JSON body: blocks, and the plain line that clients show in pop-ups; foreign text is escaped."""
    summary = summarise(event)
    blocks = [block.to_dict() for block in _blocks(event, summary)]
    body = {"text": _line(summary), "blocks": blocks, "unfurl_links": False, "unfurl_media": False}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _blocks(event: Event, summary: Summary) -> list[Block]:
    title = f"{_MARKS[summary.tone]} {summary.title}"
    blocks: list[Block] = [HeaderBlock(text=PlainTextObject(text=clip(title, _MAX_HEADER), emoji=False))]
    if summary.facts:
        fields = [_markdown(f"*{label}*\n{_code(value)}") for label, value in summary.facts[:MAX_FIELDS]]
        blocks.append(SectionBlock(fields=fields))
    if summary.text:
        blocks.append(SectionBlock(text=_markdown(_long_text(event, summary.text))))
    # Slack shows <!date^…> in the reader's time zone, and the fallback where it cannot.
    when = f"<!date^{int(event.at.timestamp())}^{{date_num}} {{time_secs}}|{event.at.isoformat()}>"
    blocks.append(ContextBlock(elements=[_markdown(f"{_code(event.id)}  {when}")]))
    return blocks


def _line(summary: Summary) -> str:
    subject = next((value for label, value in summary.facts if label in ("Job", "Node")), "")
    return clip(f"{summary.title} {subject}".strip(), _MAX_VALUE, escape_slack)


def _long_text(event: Event, text: str) -> str:
    if "error" in event.data:
        return f"```{clip(unquote(text), _MAX_TEXT, escape_slack)}```"
    return clip(text, _MAX_TEXT, escape_slack)


def _code(value: str) -> str:
    return f"`{clip(inline(value), _MAX_VALUE, escape_slack)}`"


def _markdown(text: str) -> MarkdownTextObject:
    # verbatim: names and addresses in foreign text must not turn into links or mentions.
    return MarkdownTextObject(text=text, verbatim=True)
