"""A2A 1.0 (a2a-protocol.org): other agents talk to the network as to an agent.

A message becomes a call of a tool; a job or a plan that it makes is a task under its own id. Nothing is kept here:
every answer is made from the rows, so that a server may be restarted between two calls.
"""
