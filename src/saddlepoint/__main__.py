"""python -m saddlepoint: the same as the console script."""

import sys

from saddlepoint.command import main

if __name__ == "__main__":
    sys.exit(main())
