"""The matchmaker in virtual time: a network, a workload, and what becomes of the jobs under a policy.

No servers and no sockets. The index, the policies and the order of the backlog are the engine's own code; only time,
the nodes' behaviour and the bookkeeping are simulated.
"""
