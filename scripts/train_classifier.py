"""Train a classifier that ships with the package, again:  python scripts/train_classifier.py digits | mnist

One thread of a CPU: 10 seconds for digits, 5 minutes for mnist.  The same torch and machine give the same bits.
"""

import argparse
import json
import os
import sys

from saddlepoint.data.digits import Digits
from saddlepoint.data.mnist import MNIST
from saddlepoint.metric.classifier import recipe_for, ship
from saddlepoint.metric.extractor import WEIGHTS

parser = argparse.ArgumentParser(description="Train a classifier that ships with the package.")
parser.add_argument("name", choices=["digits", "mnist"])
parser.add_argument("--root", default=os.environ.get("SADDLEPOINT_DATA", "data"), help="the folder of MNIST")
given = parser.parse_args()

data = Digits() if given.name == "digits" else MNIST(root=given.root)
data.prepare_data()
data.setup()
entry = ship(
    given.name,
    data,
    recipe_for(data.shape),
    WEIGHTS,
    f"python scripts/train_classifier.py {given.name}",
    progress=lambda what, done, of: print(f"\r{what}: {done:,} of {of:,}", end="", file=sys.stderr, flush=True),
)
print(f"\n{json.dumps(entry, indent=2)}")
