"""The Model Context Protocol: every tool, a job and the network as resources, and prompts, for any MCP client.

https://modelcontextprotocol.io/specification. ``/mcp`` speaks the revisions from 2024-11-05 to 2026-07-28 without
sessions, ``/sse`` the transport of 2024-11-05. Messages and their meaning are the SDK's (``server.py``); how they come
over HTTP is ours (``streamable.py``, ``sse.py``).
"""
