"""The background process on real servers."""
