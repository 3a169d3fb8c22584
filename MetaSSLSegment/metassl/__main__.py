"""``python -m metassl`` is the command ``metassl``."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
