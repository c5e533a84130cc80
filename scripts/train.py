"""Same as `saddlepoint train key=value ...`:  python scripts/train.py key=value ..."""

import sys

from saddlepoint.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
