"""The operator's side: a reference worker for the native node API, and fleets of them in one process.

``await run_node(NodeConfig(...), stop)`` runs one node until ``stop`` is set; ``run_fleet`` runs many. This
package talks HTTP only: of the engine it imports the vocabulary in app.core, nothing else.
"""

from app.node_worker.config import Behaviour, NodeConfig, OpenAIConfig
from app.node_worker.executors import EXECUTORS
from app.node_worker.fleet import run_fleet, run_node, until_signalled
from app.node_worker.stats import NodeStats

__all__ = [
    "EXECUTORS",
    "Behaviour",
    "NodeConfig",
    "NodeStats",
    "OpenAIConfig",
    "run_fleet",
    "run_node",
    "until_signalled",
]
