"""The services on real servers."""
