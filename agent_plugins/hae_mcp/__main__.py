"""``python -m hae_mcp``."""

import sys

from .command import main

sys.exit(main())
