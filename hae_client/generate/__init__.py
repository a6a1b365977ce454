"""Writes what of this package is generated: the models from the OpenAPI document, the sync client from the async one.

``python -m hae_client.generate DOCUMENT`` does both; the document is a file, or ``-`` for standard input. For whoever
works on the engine: it needs ruff, which the package itself does not.
"""
