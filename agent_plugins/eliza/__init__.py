"""ElizaOS: the plugin that lets its agents speak to the engine in their own form, and an agent for Python."""

from agent_plugins.eliza.agent import ElizaAgent
from agent_plugins.eliza.plugin import ElizaPlugin

__all__ = ["ElizaAgent", "ElizaPlugin"]
