"""Services without sockets."""
