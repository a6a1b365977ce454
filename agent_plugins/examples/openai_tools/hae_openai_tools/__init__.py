"""Tool calls of OpenAI chat completions: an assistant message in, tool messages out."""

from hae_openai_tools.plugin import OpenAIToolsPlugin

__all__ = ["OpenAIToolsPlugin"]
