"""python scripts/train.py key=value ...  is  saddlepoint train key=value ..."""

import sys

from saddlepoint.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
