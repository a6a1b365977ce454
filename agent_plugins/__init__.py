"""Adapters from agent frameworks to the tools: the plugin protocol, its loader, and the shipped plugins.

A plugin knows the tools' schemas and `app.core`, no more, so that one written elsewhere can do all a shipped one can.
"""
