"""Checks of everything that a run may need on this machine, with a remedy for what is missing."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision.datasets
from omegaconf import DictConfig
from torch import Tensor

from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import instantiate
from saddlepoint.config.path import cache_folder
from saddlepoint.data.image_folder import ImageFolder
from saddlepoint.data.mnist import MNIST
from saddlepoint.error import Mistake
from saddlepoint.evaluation.self_test import (
    CIFAR10_TOLERANCE,
    CIFAR10_TRAIN,
    certificate_deviations,
    measure_certificate,
    measure_inception_score,
)
from saddlepoint.extractor import inception
from saddlepoint.extractor.classifier import Shipped, shipped_classifiers
from saddlepoint.extractor.extractor import Progress
from saddlepoint.extractor.inception import Inception
from saddlepoint.run.provenance import PACKAGES, hardware, package_version
from saddlepoint.run.storage.cache import logger
from saddlepoint.run.tracking.wandb_session import is_logged_in, resolve_mode

DATA = ("digits", "mnist", "fashion_mnist", "cifar10_jpeg", "spoken_digits")
QUICK_DATA = ("digits",)  # their classifiers are always checked (half a second); those of mnist take half a minute each


class CheckResult(NamedTuple):
    """The result of one check; `remedy` is empty if nothing needs to be done."""

    name: str
    state: str
    passed: bool
    remedy: str = ""
    needed: bool = False  # whether training or scoring is impossible without it


def diagnose(config: DictConfig, progress: Progress | None = None) -> Iterator[CheckResult]:
    """Check everything that a run may need, and yield one result each."""
    is_supported = (3, 11) <= sys.version_info[:2] < (3, 14)
    remedy = "" if is_supported else "use Python 3.11, 3.12 or 3.13"
    yield CheckResult("python", platform.python_version(), is_supported, remedy, True)
    yield _check_packages()
    yield from _check_devices()
    cache = cache_folder(config)
    yield _check_writable("outputs", Path(config.outputs))
    yield _check_writable("cache", cache)
    requested = [str(config.data)] if config.data else []
    for name in dict.fromkeys([*DATA, *requested]):
        yield _check_data(name, needed=name in (*requested, "digits"))
    yield _check_classifiers()
    yield from _check_extractors(config.certify, progress)
    if path := inception.find_weights(cache):
        yield CheckResult("inception", str(path), True)
    else:
        remedy = f"downloaded on first use; or put {inception.weights_url()} in {cache / 'inception'}"
        yield CheckResult("inception", "no weights", False, remedy)
    if config.certify:
        yield _certify_inception(cache, progress)
    yield _check_wandb()


def _check_wandb() -> CheckResult:
    try:
        mode = resolve_mode()
    except Mistake as mistake:
        return CheckResult("W&B", str(mistake), False, "set WANDB_MODE to one of these values, or unset it", True)
    remedy = "" if is_logged_in() else "optional; after wandb login, runs are uploaded"
    return CheckResult("W&B", f"{'logged in' if is_logged_in() else 'not logged in'}, so runs are {mode}", True, remedy)


def _check_packages() -> CheckResult:
    versions = {name: package_version(name) for name in PACKAGES}
    missing = [name for name, installed in versions.items() if installed is None]
    remedy = f"missing: {', '.join(missing)}; make setup" if missing else ""
    state = ", ".join(f"{name} {installed}" for name, installed in versions.items() if installed is not None)
    return CheckResult("packages", state, not missing, remedy, True)


def _check_devices() -> Iterator[CheckResult]:
    machine = hardware()
    memory = f", {machine['memory_gib']} GiB" if machine["memory_gib"] else ""
    yield CheckResult(
        "cpu", f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads{memory}", True
    )
    names = machine["accelerators"]
    build = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
    remedy = "" if names else f"device=cpu is used; {build}, so check the driver if there should be a GPU (nvidia-smi)"
    yield CheckResult("accelerators", ", ".join(names) or "none", bool(names), remedy)


def _check_writable(name: str, path: Path) -> CheckResult:
    """Check that the nearest existing folder at or above `path` is writable."""
    existing = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    is_writable = existing.is_dir() and os.access(existing, os.W_OK)
    remedy = "" if is_writable else f"{existing} cannot be written; set {name}=... to another folder"
    return CheckResult(name, str(path), is_writable, remedy, True)


def _check_data(name: str, needed: bool = False) -> CheckResult:
    """Check that a data set is available, without downloading anything."""
    try:
        data = _build_data(name)
        if missing := getattr(data, "missing_files", []):
            reason = f"{f'data.root={data.root}' if hasattr(data, 'root') else name} lacks {missing[0]}"
            if isinstance(data, MNIST):
                return CheckResult(
                    name, "missing", False, f"downloaded on first use; or set data.root, because {reason}"
                )
            return CheckResult(
                name, "missing", False, f"it cannot be downloaded; set the folder of its files: {reason}", needed
            )
        data.prepare_data()
        if isinstance(data, ImageFolder):
            data.memory = 0  # keep no decoded images: decoding CIFAR-10 took 50 s, reading its headers another 13 s
            data.size = data.size if needed or not data.shape else data.shape[-1]
        data.setup("fit")
        sizes = ", ".join(f"{split} {n:,}" for split, n in data.describe()["sizes"].items())
        return CheckResult(name, sizes, True)
    except Mistake as mistake:
        return CheckResult(name, "not usable", False, str(mistake), needed)


def _build_data(name: str) -> Any:
    """Build the data set of a yaml without reading it."""
    return instantiate(compose([f"data={name}"]).data, "data")


def _check_classifiers() -> CheckResult:
    try:
        facts = [
            f"{name} ({fact['test_accuracy']:.2%} on its test split)" for name, fact in shipped_classifiers().items()
        ]
        for name in shipped_classifiers():
            Shipped(name)
        return CheckResult("classifiers", ", ".join(facts), True)
    except Mistake as mistake:
        return CheckResult("classifiers", "broken", False, str(mistake), True)


def _check_extractors(all_extractors: bool, progress: Progress | None) -> Iterator[CheckResult]:
    """Compare the figures of each shipped classifier with those at its training, if its data are available."""
    with suppress(Mistake):  # of a broken list, which `_check_classifiers` reports
        listed = shipped_classifiers()
        certified = {name: facts for name, facts in listed.items() if all_extractors or facts["data"] in QUICK_DATA}
        for name, facts in certified.items():
            if facts.get("certificate") is not None:
                yield _certify_extractor(name, facts, progress)
        if others := [name for name in listed if name not in certified]:
            remedy = "saddlepoint doctor certify=true measures them if their data are available, half a minute each"
            yield CheckResult(f"extractors {', '.join(others)}", "not certified by default", True, remedy)


def _certify_extractor(name: str, facts: dict[str, Any], progress: Progress | None) -> CheckResult:
    """Compare the figures of a shipped classifier on its test images with those at its training."""
    check, known = f"extractor {name}", facts["certificate"]
    try:
        data = _build_data(facts["data"])
        if getattr(data, "missing_files", []):
            return CheckResult(check, f"not certified: {facts['data']} is missing", True)
        if (sha256 := data.split("train").sha256) != facts["data_sha256"]:
            state = f"the train split of {facts['data']} has sha256 {sha256[:12]}..., "
            state += f"not {facts['data_sha256'][:12]}..."
            return CheckResult(
                check, state, False, "the images or their decoding differ: download the data again", True
            )
        measured = measure_certificate(Shipped(name), data, progress)
    except Mistake as mistake:
        return CheckResult(check, "not certified", False, str(mistake), True)
    if deviations := certificate_deviations(measured, known):
        state = ", ".join(f"{name} {x:.6g}, known {y:.6g}" for name, (x, y) in deviations.items())
        remedy = "scores here are not comparable with others; the stored figures were computed with torch "
        remedy += f"{facts['torch']}, see make setup"
        return CheckResult(check, state, False, remedy, True)
    figures = f"fid {measured['fid']:.4g}, inception_score {measured['inception_score']:.4g}, "
    figures += f"{measured['accuracy']:.2%} right on {measured['n']:,} test images, as known"
    return CheckResult(check, figures, True)


def _certify_inception(cache: Path, progress: Progress | None) -> CheckResult:
    """Compare Inception's score of CIFAR-10's training images with the published one."""
    check = "extractor inception"
    if inception.find_weights(cache) is None:
        return CheckResult(check, "not certified: its weights are missing", True)
    try:
        x = load_cifar10_train_images()
        if x is None:
            reason = "torchvision's cifar-10-batches-py is not in data.root; the pixel values of JPEG copies differ"
            return CheckResult(check, f"not certified: {reason}", True)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu":
            logger.warning(
                "Inception processes 3 to 8 images a second on a CPU: %s of them take hours; ctrl-C stops it", len(x)
            )
        score = measure_inception_score(Inception(cache=cache).to(device), x, progress=progress)
    except Mistake as mistake:
        return CheckResult(check, "not certified", False, str(mistake))
    matches = abs(score - CIFAR10_TRAIN) <= CIFAR10_TOLERANCE
    known = f"known {CIFAR10_TRAIN} +- {CIFAR10_TOLERANCE}"
    state = f"inception_score {score:.3f} of CIFAR-10's {len(x):,} training images, {known}"
    remedy = (
        "" if matches else "its score differs from the published one: download the weights again and run make setup"
    )
    return CheckResult(check, state, matches, remedy, True)


def load_cifar10_train_images() -> Tensor | None:
    """Load CIFAR-10's training images, uint8 [50000, 3, 32, 32], in stored order; None if they are missing."""
    root = Path(compose(["data=cifar10_jpeg"]).data.root).expanduser()
    if not (root / torchvision.datasets.CIFAR10.base_folder).is_dir():
        return None
    try:
        data = torchvision.datasets.CIFAR10(str(root), train=True, download=False)  # verifies the md5 of the files
    except RuntimeError as error:
        raise Mistake(f"{root / 'cifar-10-batches-py'} is damaged ({error}): download CIFAR-10 again") from None
    return torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
