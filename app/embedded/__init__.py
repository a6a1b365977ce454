"""The embedded default: real PostgreSQL 18 and Valkey 9 out of pip wheels, started on demand.

`start(data_dir)` gives database and Redis URLs to unix sockets. All hae processes on one directory share the
servers; the last to close stops them, and after a crash the next one finds them alive or starts them again.
Whatever goes wrong for a reason the user can mend is an `EmbeddedError`, whose message says what to do.
"""

from __future__ import annotations

from app.embedded.errors import EmbeddedError
from app.embedded.servers import EmbeddedServers, default_data_dir, start
from app.embedded.wheels import bin_dir, pgbench_path

__all__ = ["EmbeddedError", "EmbeddedServers", "bin_dir", "default_data_dir", "pgbench_path", "start"]
