"""Train a classifier that ships with the package:  python scripts/train_classifier.py digits

The second of each pair (digits-b, ...) differs by its seed: if two models rank differently under the two classifiers,
treat it as a tie.  On one CPU thread: 10 seconds for digits, 1 minute for spoken-digits, 5 minutes for mnist, 15
minutes for cifar10-jpeg. The
result is bit-identical with the same torch and machine.  With --certify nothing is trained: the certificate that
`saddlepoint doctor` checks is measured and written to the entry of the classifier.
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
from saddlepoint.data.spoken_digits import SPEAKER, SpokenDigits
from saddlepoint.evaluation.self_test import measure_and_write_certificate
from saddlepoint.extractor.classifier import WEIGHTS_FOLDER, shipped_classifiers
from saddlepoint.extractor.training import Recipe, default_recipe, train_and_save
from saddlepoint.modality import modality_of

DATA = {"digits": Digits, "mnist": MNIST, "fashion-mnist": FashionMNIST, "cifar10-jpeg": CIFAR10JPEG}
DATA |= {"spoken-digits": SpokenDigits, "spoken-digits-speaker": SpokenDigits}
COLUMNS = {"spoken-digits-speaker": SPEAKER}  # whose values are classified in place of the classes
NAMES = [name + suffix for name in DATA for suffix in ("", "-b") if not (suffix and name in COLUMNS)]

parser = argparse.ArgumentParser(description="Train a classifier that ships with the package.")
parser.add_argument("name", choices=NAMES)
parser.add_argument("--root", default=os.environ.get("SADDLEPOINT_DATA", "data"), help="folder of the data")
parser.add_argument("--to", type=Path, default=WEIGHTS_FOLDER, help="folder of the weights and of classifiers.json")
parser.add_argument("--certify", action="store_true", help="measure the certificate again without training")
arguments = parser.parse_args()

name, seed = arguments.name.removesuffix("-b"), int(arguments.name.endswith("-b"))
data = Digits() if name == "digits" else DATA[name](root=arguments.root)
data.prepare_data()
data.setup()


def show_progress(task: str, done: int, steps: int) -> None:
    """Print the progress of a task to stderr."""
    print(f"\r{task}: {done:,} of {steps:,}", end="", file=sys.stderr, flush=True)


if not arguments.certify:
    shape = modality_of(data).image_shape(data.shape)
    assert shape is not None
    recipe = default_recipe(shape, seed)
    if data.shape[0] == 3:
        recipe = Recipe(dim=128, epochs=10, wide=2, flip=True, seed=seed)
    if DATA.get(name) is SpokenDigits:
        recipe = Recipe(dim=64, epochs=20, seed=seed)  # few enough features for the covariance of 600 clips
    train_and_save(
        arguments.name,
        data,
        recipe,
        arguments.to,
        f"python scripts/train_classifier.py {arguments.name}",
        progress=show_progress,
        column=COLUMNS.get(name),
    )
if name not in COLUMNS:
    measure_and_write_certificate(arguments.name, data, arguments.to, progress=show_progress)
print(f"\n{json.dumps(shipped_classifiers(arguments.to)[arguments.name], indent=2)}")
