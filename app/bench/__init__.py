"""Benchmarks behind `hae bench`: each measures this machine against a peer in the same run and prints JSON."""
