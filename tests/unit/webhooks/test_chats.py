"""Discord's and Slack's messages: their content, their limits, and nothing foreign that turns into markup."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.deliveries import Event
from app.core.events import NOTIFIED
from app.webhooks import discord, slack
from app.webhooks.text import CUT, clip, escape_slack, units

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN: dict[str, Any] = {
    "job_id": "job_abc123",
    "node_id": "node_xyz789",
    "type": "llm_inference",
    "duration_ms": 5420,
    "cost": 2_500_000_000,
    "account": "acct_private",
}
HUGE = "`*<@1>&" * 4000
WORST: dict[str, Any] = {
    **dict.fromkeys(("job_id", "node_id", "type", "attempt", "reason", "error", "message"), HUGE),
    **dict.fromkeys(("operator", "chain_job", "tx_signature"), HUGE),
    "duration_ms": 10**18,
    "cost": 2**63 - 1,
}


def event(kind: str = "job_completed", **data: Any) -> Event:
    return Event("evt_1", kind, AT, data)


def discord_body(happened: Event) -> Any:
    return json.loads(discord.build(happened))


def slack_body(happened: Event) -> Any:
    return json.loads(slack.build(happened))


def test_discord_tells_what_happened() -> None:
    body = discord_body(event(**RUN))
    assert body["content"] == "**Job completed** `job_abc123`"
    assert body["allowed_mentions"] == {"parse": []}
    (embed,) = body["embeds"]
    assert embed["title"] == "Job completed"
    assert embed["timestamp"] == "2026-01-02T03:04:05+00:00"
    assert {field["name"]: field["value"] for field in embed["fields"]} == {
        "Job": "`job_abc123`",
        "Node": "`node_xyz789`",
        "Type": "`llm_inference`",
        "Duration": "`5.42 s`",
        "Cost": "`2.5 HYPER`",
    }
    assert "private" not in json.dumps(body)


PAYMENT: dict[str, Any] = {
    "job_id": "job_abc123",
    "reason": "fake_mint",
    "chain_job": "9aE",
    "tx_signature": "5Vd",
    "amount": 2**64 - 1,
    "settlement": "disputed",
}


def test_both_tell_of_payments() -> None:
    (embed,) = discord_body(event("payment_disputed", **PAYMENT))["embeds"]
    facts = {field["name"]: field["value"].strip("`") for field in embed["fields"]}
    assert facts == {
        "Job": "job_abc123",
        "Reason": "fake_mint",
        "Account": "9aE",
        "Transaction": "5Vd",
        "Amount": "18446744073.709551615 HYPER",
    }
    header, fields, _ = slack_body(event("payment_disputed", **PAYMENT))["blocks"]
    assert header["text"]["text"] == "❌ Payment disputed"
    assert [field["text"] for field in fields["fields"]] == [f"*{name}*\n`{value}`" for name, value in facts.items()]
    assert slack_body(event("payment_distributed", **PAYMENT))["blocks"][0]["text"]["text"].startswith("✅")


def test_slack_tells_what_happened() -> None:
    body = slack_body(event(**RUN))
    assert body["text"] == "Job completed job_abc123"
    header, facts, context = body["blocks"]
    assert header["text"]["text"] == "✅ Job completed"
    assert [field["text"] for field in facts["fields"]] == [
        "*Job*\n`job_abc123`",
        "*Node*\n`node_xyz789`",
        "*Type*\n`llm_inference`",
        "*Duration*\n`5.42 s`",
        "*Cost*\n`2.5 HYPER`",
    ]
    assert "`evt_1`" in context["elements"][0]["text"]
    assert body["unfurl_links"] is False
    assert "private" not in json.dumps(body)


@pytest.mark.parametrize("kind", sorted(NOTIFIED))
def test_discord_stays_within_its_limits(kind: str) -> None:
    body = discord_body(event(kind, **WORST))
    assert units(body["content"]) <= 2000
    assert len(body["embeds"]) <= 10
    total = 0
    for embed in body["embeds"]:
        fields = embed.get("fields", [])
        assert len(fields) <= 25
        assert units(embed["title"]) <= 256
        assert units(embed.get("description", "")) <= 4096
        assert all(units(f["name"]) <= 256 and 0 < units(f["value"]) <= 1024 for f in fields)
        total += units(embed["title"] + embed.get("description", "") + embed["footer"]["text"])
        total += sum(units(field["name"] + field["value"]) for field in fields)
    assert total <= 6000


@pytest.mark.parametrize("kind", sorted(NOTIFIED))
def test_slack_stays_within_its_limits(kind: str) -> None:
    body = slack_body(event(kind, **WORST))
    assert len(body["blocks"]) <= 50
    for block in body["blocks"]:
        if block["type"] == "header":
            assert units(block["text"]["text"]) <= 150
        elif "text" in block:
            assert units(block["text"]["text"]) <= 3000
        assert len(block.get("fields", [])) <= 10
        assert all(units(field["text"]) <= 2000 for field in block.get("fields", []))


@pytest.mark.parametrize("kind", sorted(NOTIFIED))
def test_no_foreign_text_becomes_a_mention_or_link(kind: str) -> None:
    bad = "<!channel> <@U1> <http://evil.example|here> & \n```\n`"
    data = dict.fromkeys(("job_id", "node_id", "type", "error", "message", "reason"), bad)
    text = slack.build(event(kind, **data)).decode()
    assert "<!channel" not in text
    assert "<@" not in text
    assert "<http" not in text
    body = discord_body(event(kind, **data))
    assert body["allowed_mentions"] == {"parse": []}
    for embed in body["embeds"]:
        for field in embed.get("fields", []):
            assert field["value"].count("`") == 2
            assert "\n" not in field["value"]
        described = embed.get("description", "")
        assert described.count("```") == (2 if described.startswith("```") else 0)


def test_a_discord_link_in_an_operators_message_is_switched_off() -> None:
    (embed,) = discord_body(event("operator_message", message="[free](https://evil.example) **now**"))["embeds"]
    assert embed["description"] == r"\[free\]\(https\://evil.example\) \*\*now\*\*"


def test_an_operators_message_without_text_is_shown_as_json() -> None:
    body = slack_body(event("operator_message", event="maintenance", account="acct_private"))
    assert body["blocks"][1]["text"]["text"] == '{"event": "maintenance"}'


@pytest.mark.parametrize("kind", sorted(NOTIFIED))
def test_no_data_is_no_problem(kind: str) -> None:
    assert discord_body(event(kind))["content"]
    assert slack_body(event(kind))["text"]


ODD = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.lists(st.integers(), max_size=3)
)


@given(
    kind=st.sampled_from(sorted(NOTIFIED)),
    data=st.dictionaries(st.sampled_from([*RUN, "error", "message", "reason"]), ODD),
)
def test_odd_data_is_told_all_the_same(kind: str, data: dict[str, Any]) -> None:
    assert discord_body(event(kind, **data))["embeds"]
    assert slack_body(event(kind, **data))["blocks"]


@given(text=st.text(max_size=60), limit=st.integers(min_value=20, max_value=50))
def test_clipping_keeps_the_limit_and_splits_nothing(text: str, limit: int) -> None:
    short = clip(text, limit, escape_slack)
    assert units(short) <= limit
    if units(escape_slack(text)) <= limit:
        assert short == escape_slack(text)
    else:
        assert short.endswith(CUT)
        kept = short.removesuffix(CUT)
        assert escape_slack(text).startswith(kept)
        assert "&" not in kept.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")


def test_both_name_the_operator_that_is_not_ours() -> None:
    told = {"job_id": "job_1", "chain_job": "9aE", "mismatch": "completed_operator", "operator": "4vN"}
    (embed,) = discord_body(event("operator_mismatch", **told))["embeds"]
    assert {"Mismatch": "`completed_operator`", "Operator": "`4vN`"}.items() <= {
        field["name"]: field["value"] for field in embed["fields"]
    }.items()
    assert "*Operator*\n`4vN`" in json.dumps(
        slack_body(event("operator_mismatch", **told)), ensure_ascii=False
    ).replace("\\n", "\n")
