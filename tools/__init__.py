"""Deterministic tools for agents: typed input, typed output, one definition each, served by many faces."""
