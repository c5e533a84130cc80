"""Certificates of extractors: known scores, measured again on this machine.

A match shows that this machine, with these libraries, computes what was computed when the weights were made.  The
certificate of a shipped classifier is what `measure_certificate` returns.  That of Inception is the score of the 50,000
training images of CIFAR-10, 11.24 (Salimans et al. 2016, arXiv:1606.03498, table 3: 11.24 +- .12, over ten splits).
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

# relative.  Another order of summation changes a score by 1e-7 at most (digits, digits-b and mnist: float64 against
# float32, batches of 7 against 500); an accelerator that rounds to TF32 may change the fourth digit of a distance
TOLERANCE = 1e-3
BATCH = 500
CIFAR10_TRAIN = 11.24  # Inception score of CIFAR-10's training images
CIFAR10_TOLERANCE = 0.05  # ports of the weights, and the order of the images in the splits, change the second decimal


def measure_certificate(extractor: Extractor, data: DataLike, progress: Progress | None = None) -> dict[str, Any]:
    """Return the scores of the test split against the train split, by a classifier on its device; plain values.

    Raises Mistake if the images have no classes.
    """
    metrics = {"fid": FrechetDistance(), "inception_score": InceptionScore()}
    device = next(extractor.parameters()).device
    train, test = data.split("train"), data.split("test")
    evaluator = Evaluator(extractor, metrics, len(test), "train", BATCH, None, 0, device, lambda text: None, progress)
    features = evaluator.extract_features(test.batches(BATCH), len(test), "the test split")
    if features.logits is None or features.y is None:
        raise Mistake(f"{extractor.name}: a certificate needs the extractor's logits and images with classes.")
    correct = int((features.logits.argmax(1).cpu() == features.y.cpu()).sum())
    results = evaluator.metric_results(features, None, train)
    about = {"split": "test", "n": len(test), "against": "train", "n_against": len(train)}
    return {**about, **{name: float(results[name].value) for name in metrics}, "accuracy": correct / len(test)}


def measure_and_write_certificate(
    name: str, data: DataLike, folder: Path = WEIGHTS_FOLDER, progress: Progress | None = None
) -> dict[str, Any]:
    """Measure the certificate of the classifier `name` in `folder`, and write it into classifiers.json there."""
    certificate = measure_certificate(Shipped(name, folder), data, progress)
    entries = shipped_classifiers(folder)
    entries[name]["certificate"] = certificate
    atomic.write_atomic(folder / "classifiers.json", json.dumps(entries, indent=2) + "\n")
    return certificate


def certificate_deviations(measured: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the scores that differ from the known ones beyond TOLERANCE: measured and known value of each."""
    return {
        name: (measured[name], known[name])
        for name in ("fid", "inception_score", "accuracy")
        if abs(measured[name] - known[name]) > TOLERANCE * abs(known[name])
    }


def measure_inception_score(
    extractor: Extractor, x: Tensor, batch: int = 100, progress: Progress | None = None
) -> float:
    """Return the Inception score over ten splits of uint8 images x [N, C, H, W], in their order, by `extractor`."""
    device = next(extractor.parameters(), x).device
    metric = InceptionScore().to(device)
    with torch.no_grad():
        for number, images in enumerate(x.split(batch), start=1):
            metric.update(extractor(images.to(device)), real=False)
            if progress:
                progress("certifying inception", min(number * batch, len(x)), len(x))
    return float(metric.results()[""].value)
