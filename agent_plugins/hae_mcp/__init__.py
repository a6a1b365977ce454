"""The stdio bridge: what a local MCP client says on standard input goes to the engine's ``/mcp``, and back.

It stands on httpx and the standard library alone, and is also published by itself as ``hae-mcp``: desktop clients start
it without installing the engine.
"""

from .bridge import Bridge
from .config import BridgeConfig, ConfigError, from_environment

__all__ = ["Bridge", "BridgeConfig", "ConfigError", "from_environment"]
