"""Deterministic tools for agents: typed input, typed output, one definition each, served by many faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.langchain import LangChainTool


def as_langchain(
    url: str = "", api_key: str = "", *, names: Sequence[str] = (), timeout_s: float = 60.0
) -> list[LangChainTool]:
    """The tools for an agent of your own that LangChain or LangGraph runs; see tools/langchain.py."""
    # LangChain takes a while to load, and most who import this package do without it.
    from tools.langchain import langchain_tools

    return langchain_tools(url, api_key, names=names, timeout_s=timeout_s)
