"""The tests mirror the source: unit (no sockets), integration (real servers), http, and e2e (the `hae` command)."""
