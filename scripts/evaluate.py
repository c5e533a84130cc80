"""Same as `saddlepoint evaluate key=value ...`:  python scripts/evaluate.py key=value ..."""

import sys

from saddlepoint.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
