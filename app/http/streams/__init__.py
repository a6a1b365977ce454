"""Live streams of the feed: one reader a process, any number of clients over server-sent events and WebSocket."""
