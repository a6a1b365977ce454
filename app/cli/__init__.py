"""`hae`: the commands, one module each. Composition only: what a command does lives in the packages below."""

from app.cli.main import main

__all__ = ["main"]
