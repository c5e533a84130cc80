"""python scripts/reproduce.py key=value ...  is  saddlepoint reproduce key=value ..."""

import sys

from saddlepoint.cli import main

if __name__ == "__main__":
    sys.exit(main(["reproduce", *sys.argv[1:]]))
