"""python -m saddlepoint: the same as the console script."""

import sys

from saddlepoint.cli import main

if __name__ == "__main__":
    sys.exit(main())
