"""Which version this is, and how it presents itself."""

from __future__ import annotations

from importlib import metadata

try:
    VERSION = metadata.version("hypernode-automation-engine")
except metadata.PackageNotFoundError:  # Copied without its metadata.
    VERSION = "0"
AGENT = f"hae_client/{VERSION}"
