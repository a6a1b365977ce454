"""The job graph on real servers."""
