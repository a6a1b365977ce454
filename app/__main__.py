"""`python -m app` is `hae`."""

from app.cli.main import main

main()
