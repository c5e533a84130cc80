"""python scripts/compare.py key=value ...  is  saddlepoint compare key=value ..."""

import sys

from saddlepoint.cli import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
