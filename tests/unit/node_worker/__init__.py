"""Unit tests of the node worker: decisions, settings and executors."""
