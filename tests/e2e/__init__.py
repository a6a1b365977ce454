"""The installed `hae` command, run as a user runs it."""
