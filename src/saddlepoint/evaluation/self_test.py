"""Certificates of rulers: known values, measured again where they are to be trusted.

A certificate says that this machine, with these libraries, reads off the weights what was read when they were made: of
a shipped classifier, what `certificate` gives; of Inception, the score of CIFAR-10's 50,000 training images, 11.24
(Salimans et al. 2016, arXiv:1606.03498, table 3: 11.24 +- .12, the deviation over ten splits).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.extractor.classifier import WEIGHTS_FOLDER, Shipped, shipped_classifiers
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Extractor, Progress
from saddlepoint.metric.frechet_distance import FrechetDistance
from saddlepoint.metric.inception_score import InceptionScore
from saddlepoint.run.storage import atomic

# of a figure, relatively.  Other orders of summation moved none by more than 1e-7 (digits, digits-b and mnist: float64
# against float32, batches of 7 against 500); an accelerator that rounds to TF32 may move the fourth digit of a distance
TOLERANCE = 1e-3
BATCH = 500
CIFAR10_TRAIN = 11.24  # Inception's score of CIFAR-10's training images
CIFAR10_TOLERANCE = 0.05  # of it: ports and the order of the images, which splits them, move the second decimal


def measure_certificate(extractor: Extractor, data: DataLike, progress: Progress | None = None) -> dict[str, Any]:
    """The figures of data's test split against its train split, by a classifier on its device; plain values.

    Raises Mistake where the images have no classes.
    """
    metrics = {"fid": FrechetDistance(), "inception_score": InceptionScore()}
    device = next(extractor.parameters()).device
    train, test = data.split("train"), data.split("test")
    evaluator = Evaluator(extractor, metrics, len(test), "train", BATCH, None, 0, device, lambda line: None, progress)
    held = evaluator.extract_features(test.batches(BATCH), len(test), "the test split")
    if held.logits is None or held.y is None:
        raise Mistake(
            f"{extractor.name} is certified on images with classes, by its logits; one of the two is missing."
        )
    right = int((held.logits.argmax(1).cpu() == held.y.cpu()).sum())
    found = {name: float(result.value) for name, result in evaluator.metric_results(held, None, train).items()}
    about = {"split": "test", "n": len(test), "against": "train", "n_against": len(train)}
    return {**about, "fid": found["fid"], "inception_score": found["inception_score"], "accuracy": right / len(test)}


def write_certificate(
    name: str, data: DataLike, folder: Path = WEIGHTS_FOLDER, progress: Progress | None = None
) -> dict[str, Any]:
    """The certificate of the classifier `name` of `folder`, measured, and written into its entry there."""
    found = measure_certificate(Shipped(name, folder), data, progress)
    entries = shipped_classifiers(folder)
    entries[name]["certificate"] = found
    atomic.write_atomic(folder / "classifiers.json", json.dumps(entries, indent=2) + "\n")
    return found


def certificate_deviations(found: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The figures that are not what they were: what is found and what is known of each."""
    return {
        name: (found[name], known[name])
        for name in ("fid", "inception_score", "accuracy")
        if abs(found[name] - known[name]) > TOLERANCE * abs(known[name])
    }


def measure_inception_score(
    extractor: Extractor, x: Tensor, batch: int = 100, progress: Progress | None = None
) -> float:
    """The Inception score over ten splits of uint8 images x [N, C, H, W], in their order, by `extractor`."""
    device = next(extractor.parameters(), x).device
    measure = InceptionScore().to(device)
    with torch.no_grad():
        for number, part in enumerate(x.split(batch), start=1):
            measure.update(extractor(part.to(device)), real=False)
            if progress:
                progress("certifying inception", min(number * batch, len(x)), len(x))
    return float(measure.results()[""].value)
