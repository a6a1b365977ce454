"""The server: everything but the graphs, the agent tools and the agent plugins.

Settings, the command line, telemetry and the embedded servers lie here as modules; each part of the domain is a
package of its own. Imports go one way, from `cli` down to `core`; import-linter holds the layers (pyproject.toml).
"""
