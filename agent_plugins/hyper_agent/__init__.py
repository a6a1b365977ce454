"""The Hyper Agent: negotiates, hires, executes and scales; plans and single jobs in its own words."""

from agent_plugins.hyper_agent.plugin import HyperAgentPlugin

__all__ = ["HyperAgentPlugin"]
