"""Same as `saddlepoint reproduce key=value ...`:  python scripts/reproduce.py key=value ..."""

import sys

from saddlepoint.cli import main

if __name__ == "__main__":
    sys.exit(main(["reproduce", *sys.argv[1:]]))
