"""Adapters from agent frameworks to the tools.

The plugin protocol (protocol.py), what finds plugins (loader.py), keeps their faults to themselves (isolation.py) and
lets them work (host.py), the suite that any plugin must pass (conformance/), the shipped plugins (eliza/, hyper_agent/)
and an example of one by somebody else (examples/).

A plugin knows the tools' schemas and `app.core`, no more, so that one written elsewhere can do all a shipped one can.
"""
