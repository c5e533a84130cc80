"""Same as `saddlepoint sweep key=value ...`:  python scripts/sweep.py key=value ..."""

import sys

from saddlepoint.cli import main

if __name__ == "__main__":
    sys.exit(main(["sweep", *sys.argv[1:]]))
