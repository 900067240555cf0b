"""Lets ``python -m node`` and the console script ``petct-node`` start the command line."""

import sys

from node.cli import main

if __name__ == "__main__":
    sys.exit(main())
