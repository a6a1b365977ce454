"""Which nodes suit a job, in which order and why: the in-memory view, policies and explanations.

Pure computation on NumPy arrays, no I/O and no framework. The result always equals the brute-force oracle
of the tests; PostgreSQL, not this package, arbitrates the claim that follows.
"""
