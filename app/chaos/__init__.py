"""The chaos suite: a whole engine of many processes under faults, and a checker of what its clients saw and it kept.

Imports the engine's own composition roots, clients and audits; nothing of the engine imports this.
"""
