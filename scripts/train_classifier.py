"""Train a classifier that ships with the package, again:  python scripts/train_classifier.py digits

The second of each pair, digits-b and so on, differs by its seed: an order of models that one of them alone supports is
no finding.  One thread of a CPU: 10 seconds for digits, 5 minutes for mnist, a quarter of an hour for cifar10-jpeg.
The same torch and machine give the same bits.  With --certify nothing is trained: the figures that `saddlepoint doctor`
holds a ruler against are measured, and written into its entry.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from saddlepoint.data.cifar10_jpeg import CIFAR10JPEG
from saddlepoint.data.digits import Digits
from saddlepoint.data.fashion_mnist import FashionMNIST
from saddlepoint.data.mnist import MNIST
from saddlepoint.evaluation.self_test import write_certificate
from saddlepoint.extractor.classifier import WEIGHTS_FOLDER, shipped_classifiers
from saddlepoint.extractor.training import Recipe, default_recipe, train_and_save

DATA = {"digits": Digits, "mnist": MNIST, "fashion-mnist": FashionMNIST, "cifar10-jpeg": CIFAR10JPEG}

parser = argparse.ArgumentParser(description="Train a classifier that ships with the package.")
parser.add_argument("name", choices=[name + second for name in DATA for second in ("", "-b")])
parser.add_argument("--root", default=os.environ.get("SADDLEPOINT_DATA", "data"), help="the folder of the data")
parser.add_argument("--to", type=Path, default=WEIGHTS_FOLDER, help="the folder of the weights and of classifiers.json")
parser.add_argument("--certify", action="store_true", help="measure the certificate again, and train nothing")
given = parser.parse_args()

name, seed = given.name.removesuffix("-b"), int(given.name.endswith("-b"))
data = Digits() if name == "digits" else DATA[name](root=given.root)
data.prepare_data()
data.setup()


def told(what: str, done: int, of: int) -> None:
    """How far it is."""
    print(f"\r{what}: {done:,} of {of:,}", end="", file=sys.stderr, flush=True)


if not given.certify:
    recipe = default_recipe(data.shape, seed)
    if data.shape[0] == 3:
        recipe = Recipe(dim=128, epochs=10, wide=2, flip=True, seed=seed)
    train_and_save(
        given.name, data, recipe, given.to, f"python scripts/train_classifier.py {given.name}", progress=told
    )
write_certificate(given.name, data, given.to, progress=told)
print(f"\n{json.dumps(shipped_classifiers(given.to)[given.name], indent=2)}")
