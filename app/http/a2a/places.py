"""Where A2A is served."""

from typing import Final

RPC_PATH: Final = "/a2a"
REST_PATH: Final = "/v1"
"""Below RPC_PATH."""
CARD_PATH: Final = "/.well-known/agent-card.json"
