"""Same as `saddlepoint compare key=value ...`:  python scripts/compare.py key=value ..."""

import sys

from saddlepoint.cli import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
