"""Same as `saddlepoint sample key=value ...`:  python scripts/sample.py key=value ..."""

import sys

from saddlepoint.cli import main

if __name__ == "__main__":
    sys.exit(main(["sample", *sys.argv[1:]]))
