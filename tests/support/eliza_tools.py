"""What plugin-hypernode and its document hold: the module of the tools' schemas, the settings of plugin-mcp.

``python -m tests.support.eliza_tools`` writes the module again after a tool's schema has changed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from agent_plugins.eliza.actions import ACTIONS
from app.core.states import JOB_FINAL, JobState
from tools.registry import TOOLS, describe

PACKAGE = Path(__file__).parents[2] / "agent_plugins" / "eliza" / "npm"
DOCS = Path(__file__).parents[2] / "docs" / "eliza.md"
TARGET = PACKAGE / "src" / "tools.ts"
_HEAD = """\
// Written by `python -m tests.support.eliza_tools` from the engine's tools; not to be changed by hand.
import type { ActionSchema } from './schema.js';

"""


def text() -> str:
    """What the module must hold now."""
    actions = {}
    for name, action in ACTIONS.items():
        schema = describe(TOOLS[action.tool])
        actions[name] = {
            "tool": action.tool,
            "summary": action.summary,
            "example": dict(action.example),
            "input": schema["input_schema"],
            "answers": schema["output_schema"].get("required", []),
        }
    open_states = sorted(state.value for state in JobState if state not in JOB_FINAL)
    return (
        _HEAD
        + "/** States of jobs that are not over. */\n"
        + f"export const OPEN_STATES: readonly string[] = {_json(open_states)};\n\n"
        + "/** Actions by name, with the tool that each calls. */\n"
        + f"export const ACTIONS = {_json(actions)} satisfies Readonly<Record<string, ActionSchema>>;\n"
    )


def documented_servers() -> list[dict[str, Any]]:
    """The settings of `@elizaos/plugin-mcp` in the document: key in a header, key in the URL, SSE, a process."""
    blocks = [json.loads(one) for one in re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)]
    blocks = [one.get("settings", {}).get("mcp", one) for one in blocks]
    return [one["servers"]["hypernode"] for one in blocks if "servers" in one]


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
