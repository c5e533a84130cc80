"""What this machine has of what a run may need, and what to do about what it lacks."""

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

DATA = ("digits", "mnist", "fashion_mnist", "cifar10_jpeg")
QUICK = ("digits",)  # whose rulers are certified in every examination: half a second; mnist's take half a minute each


class CheckResult(NamedTuple):
    """One line of the examination; `remedy` is empty where nothing is to be done."""

    what: str
    state: str
    well: bool
    remedy: str = ""
    needed: bool = False  # whether it stands in the way of training or of measuring, where it is not well


def diagnose(config: DictConfig, progress: Progress | None = None) -> Iterator[CheckResult]:
    """Everything that a run may need, one finding each."""
    well = (3, 11) <= sys.version_info[:2] < (3, 14)
    yield CheckResult("python", platform.python_version(), well, "" if well else "use Python 3.11, 3.12 or 3.13", True)
    yield _packages()
    yield from _devices()
    cache = cache_folder(config)
    yield _writable("outputs", Path(config.outputs))
    yield _writable("cache", cache)
    asked = [str(config.data)] if config.data else []
    for name in dict.fromkeys([*DATA, *asked]):
        yield _data(name, needed=name in (*asked, "digits"))
    yield _classifiers()
    yield from _rulers(config.certify, progress)
    if path := inception.find_weights(cache):
        yield CheckResult("inception", str(path), True)
    else:
        remedy = f"downloaded on first use; or put {inception.weights_url()} in {cache / 'inception'}"
        yield CheckResult("inception", "weights not here", False, remedy)
    if config.certify:
        yield _inception_certified(cache, progress)
    yield _wandb()


def _wandb() -> CheckResult:
    try:
        mode = resolve_mode()
    except Mistake as mistake:
        return CheckResult("W&B", str(mistake), False, "set it to one of these, or unset it", True)
    remedy = "" if is_logged_in() else "nothing needs it; wandb login sends runs up from now on"
    return CheckResult("W&B", f"{'logged in' if is_logged_in() else 'not logged in'}, so runs are {mode}", True, remedy)


def _packages() -> CheckResult:
    found = {name: package_version(name) for name in PACKAGES}
    missing = [name for name, own in found.items() if own is None]
    remedy = f"missing: {', '.join(missing)}; make setup" if missing else ""
    state = ", ".join(f"{name} {own}" for name, own in found.items() if own is not None)
    return CheckResult("packages", state, not missing, remedy, True)


def _devices() -> Iterator[CheckResult]:
    machine = hardware()
    memory = f", {machine['memory_gib']} GiB" if machine["memory_gib"] else ""
    yield CheckResult(
        "cpu", f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads{memory}", True
    )
    names = machine["accelerators"]
    built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
    remedy = (
        "" if names else f"device=cpu is used; {built}, so look at the driver if there should be a GPU (nvidia-smi)"
    )
    yield CheckResult("accelerators", ", ".join(names) or "none", bool(names), remedy)


def _writable(name: str, path: Path) -> CheckResult:
    """Whether the first folder above `path` that exists can be written."""
    there = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    well = there.is_dir() and os.access(there, os.W_OK)
    remedy = "" if well else f"{there} cannot be written; set {name}=... to another folder"
    return CheckResult(name, str(path), well, remedy, True)


def _data(name: str, needed: bool = False) -> CheckResult:
    """Whether a data set is there, without downloading anything."""
    try:
        data = _found(name)
        if missing := getattr(data, "missing_files", []):
            where = f"{f'data.root={data.root}' if hasattr(data, 'root') else name} lacks {missing[0]}"
            if isinstance(data, MNIST):
                return CheckResult(name, "not here", False, f"downloaded on first use, or say where it is: {where}")
            return CheckResult(name, "not here", False, f"it cannot be downloaded; say where it is: {where}", needed)
        data.prepare_data()
        if isinstance(data, ImageFolder):
            data.memory = 0  # to decode CIFAR-10's 50,000 images took 50 seconds
            data.size = data.size if needed or not data.shape else data.shape[-1]  # and a look at each header 13
        data.setup("fit")
        sizes = ", ".join(f"{part} {n:,}" for part, n in data.describe()["sizes"].items())
        return CheckResult(name, sizes, True)
    except Mistake as mistake:
        return CheckResult(name, "not usable", False, str(mistake), needed)


def _found(name: str) -> Any:
    """The data set, as its yaml describes it; nothing is read yet."""
    return instantiate(compose([f"data={name}"]).data, "data")


def _classifiers() -> CheckResult:
    try:
        facts = [
            f"{name} ({fact['test_accuracy']:.2%} on its test split)" for name, fact in shipped_classifiers().items()
        ]
        for name in shipped_classifiers():
            Shipped(name)
        return CheckResult("classifiers", ", ".join(facts), True)
    except Mistake as mistake:
        return CheckResult("classifiers", "broken", False, str(mistake), True)


def _rulers(everything: bool, progress: Progress | None) -> Iterator[CheckResult]:
    """Each shipped classifier whose data are here, against the figures that it gave when it was made."""
    with suppress(Mistake):  # of a broken list, which the finding `classifiers` tells
        listed = shipped_classifiers()
        chosen = {name: facts for name, facts in listed.items() if everything or facts["data"] in QUICK}
        for name, facts in chosen.items():
            if facts.get("certificate") is not None:
                yield _certified(name, facts, progress)
        if later := [name for name in listed if name not in chosen]:
            how = "saddlepoint doctor certify=true measures them where their data are here, half a minute each"
            yield CheckResult(f"rulers {', '.join(later)}", "not certified in this examination", True, how)


def _certified(name: str, facts: dict[str, Any], progress: Progress | None) -> CheckResult:
    what, known = f"ruler {name}", facts["certificate"]
    try:
        data = _found(facts["data"])
        if getattr(data, "missing_files", []):
            return CheckResult(what, f"not certified: {facts['data']} is not here", True)
        if (sha256 := data.split("train").sha256) != facts["data_sha256"]:
            state = f"the train split of {facts['data']} has sha256 {sha256[:12]}..., "
            state += f"not {facts['data_sha256'][:12]}..."
            return CheckResult(
                what, state, False, "these are other images, or read otherwise: fetch the data anew", True
            )
        found = measure_certificate(Shipped(name), data, progress)
    except Mistake as mistake:
        return CheckResult(what, "not certified", False, str(mistake), True)
    if wrong := certificate_deviations(found, known):
        state = ", ".join(f"{figure} {one:.6g}, known {other:.6g}" for figure, (one, other) in wrong.items())
        how = f"scores measured here are not those of others; it was made with torch {facts['torch']}, see make setup"
        return CheckResult(what, state, False, how, True)
    figures = f"fid {found['fid']:.4g}, inception_score {found['inception_score']:.4g}, {found['accuracy']:.2%} right"
    return CheckResult(what, f"{figures}: {found['n']:,} test images, as known", True)


def _inception_certified(cache: Path, progress: Progress | None) -> CheckResult:
    """Inception's score of CIFAR-10's training images against the published one."""
    what = "ruler inception"
    if inception.find_weights(cache) is None:
        return CheckResult(what, "not certified: its weights are not here", True)
    try:
        x = load_cifar10_train_images()
        if x is None:
            where = "torchvision's cifar-10-batches-py is not in data.root; JPEG copies are other pixels"
            return CheckResult(what, f"not certified: {where}", True)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu":
            logger.warning(
                "Inception sees 3 to 8 images a second on a CPU: %s of them take hours; ctrl-C ends it", len(x)
            )
        score = measure_inception_score(Inception(cache=cache).to(device), x, progress=progress)
    except Mistake as mistake:
        return CheckResult(what, "not certified", False, str(mistake))
    well = abs(score - CIFAR10_TRAIN) <= CIFAR10_TOLERANCE
    state = f"inception_score {score:.3f} of CIFAR-10's {len(x):,} training images, known {CIFAR10_TRAIN} +- {CIFAR10_TOLERANCE}"
    remedy = "" if well else "its scores here are not the published ones: fetch the weights anew, and make setup"
    return CheckResult(what, state, well, remedy, True)


def load_cifar10_train_images() -> Tensor | None:
    """CIFAR-10's training images, uint8 [50000, 3, 32, 32], in stored order; None where the original is not here."""
    root = Path(compose(["data=cifar10_jpeg"]).data.root).expanduser()
    if not (root / torchvision.datasets.CIFAR10.base_folder).is_dir():
        return None
    try:
        data = torchvision.datasets.CIFAR10(str(root), train=True, download=False)  # holds the files against their md5
    except RuntimeError as error:
        raise Mistake(f"{root / 'cifar-10-batches-py'} is broken ({error}): fetch CIFAR-10 anew") from None
    return torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
