"""Reference statistics from a file: mean and covariance of some reals' features, others' or our own, as .npz.

    mu [d], sigma [d, d]; n or num_images, where the file says how many    (TTUR, pytorch-fid and clean-fid write these)

They serve the Frechet distances alone: no other score can be had from two moments.  A file may say whose features they
are, as JSON under `saddlepoint`, and is refused by another extractor; of others only the number of features is checked.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Extractor
from saddlepoint.metric.frechet_distance import FrechetDistance
from saddlepoint.metric.metric import Metric
from saddlepoint.run.storage import archive

NUMBER = ("n", "num_images")  # where a file says how many images it saw
METADATA_KEY = "saddlepoint"  # where a file says of what: extractor, extractor_sha256, resizer
UNKNOWN_COUNT = 10**9  # reals, where a file does not say: nothing can be held against their number
ASYMMETRY = 1e-5  # of the largest entry: more than float32 loses


@dataclass(frozen=True)
class ReferenceStatistics:
    """What is left of some reals; in the place of a split, it has a name, a sha256 and a length (0 where unknown)."""

    mu: Tensor  # [d], float64
    sigma: Tensor  # [d, d], float64
    n: int | None = None
    sha256: str = ""  # of the file
    file: str = ""  # its name, for people
    metadata: Mapping[str, Any] = field(default_factory=dict)  # what the file says of itself
    name: str = "statistics"

    def __len__(self) -> int:
        return self.n or 0

    def check_extractor(self, extractor: Extractor) -> None:
        """Raises Mistake where they are not of this extractor's features."""
        if (dim := len(self.mu)) != extractor.dim:
            raise Mistake(
                f"{self.file} is of {dim} features, and the extractor {extractor.name} has {extractor.dim}.\n"
                "Choose the extractor that the statistics were made with: evaluation.extractor=inception for 2048."
            )
        ruler = {"extractor": extractor.name, "extractor_sha256": extractor.sha256, "resizer": extractor.resizer}
        for key, own in ruler.items():
            if (told := self.metadata.get(key, own)) != own:
                raise Mistake(f"{self.file} is of another ruler: {key} is {told} there and {own} here.")

    def why_not(self, metric: Metric) -> str | None:
        """Why two moments do not suffice for a metric, for people; None where they do."""
        # one that meets the data takes its reals from there, and there are none
        alone = not metric.needs_reals and not metric.needs_labels and type(metric).setup is Metric.setup
        if alone or isinstance(metric, FrechetDistance):
            return None
        return f"it needs the reals, and {self.file} holds their mean and covariance"

    def set_reference_of(self, metric: Metric) -> None:
        """Let `metric` measure against them."""
        metric.set_reference({"mu": self.mu, "sigma": self.sigma} if isinstance(metric, FrechetDistance) else None)


def load_reference_statistics(path: Path | str) -> ReferenceStatistics:
    """The statistics in an npz; raises Mistake where they are not there, not numbers, or no mean and covariance."""
    path = Path(path).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror}. Reference statistics are an .npz file.") from None
    try:
        # guided-diffusion's files have 3 GB of images beside these
        arrays = archive.load_arrays(content, ("mu", "sigma", METADATA_KEY, *NUMBER))
    except (ValueError, OSError, EOFError, KeyError, BadZipFile, zlib.error) as error:
        why = "its content is pickled, which can run any code" if "pickle" in str(error) else str(error).splitlines()[0]
        raise Mistake(
            f"{path} cannot be read as .npz: {why}. Write it again with numpy.savez(file, mu=mu, sigma=sigma)."
        ) from None
    if missing := [name for name in ("mu", "sigma") if name not in arrays]:
        there = ", ".join(sorted(arrays)) or "nothing"
        raise Mistake(
            f"{path} has no {missing[0]}: it holds {there}. Reference statistics are mu [d] and sigma [d, d]."
        )
    mu, sigma = _numbers(path, "mu", arrays["mu"]), _numbers(path, "sigma", arrays["sigma"])
    if mu.dim() != 1 or sigma.shape != (len(mu), len(mu)) or not len(mu):
        raise Mistake(
            f"{path}: mu is {list(mu.shape)} and sigma {list(sigma.shape)}; a mean is [d], its covariance [d, d]."
        )
    for name, value in (("mu", mu), ("sigma", sigma)):
        if not bool(value.isfinite().all()):
            raise Mistake(f"{path}: some of {name} are not finite (nan or infinite), so there is no distance to it.")
    if (sigma - sigma.T).abs().max() > ASYMMETRY * sigma.abs().max():
        raise Mistake(f"{path}: sigma is not symmetric, so it is no covariance.")
    if bool((sigma.diagonal() < 0).any()):
        raise Mistake(f"{path}: sigma has negative variances on its diagonal, so it is no covariance.")
    n = next((_count(path, name, arrays[name]) for name in NUMBER if name in arrays), None)
    try:
        about = dict(json.loads(str(arrays[METADATA_KEY]))) if METADATA_KEY in arrays else {}
    except ValueError:
        raise Mistake(f"{path}: what it says of itself, under {METADATA_KEY}, cannot be read. Make it again.") from None
    return ReferenceStatistics(mu, sigma, n, hashlib.sha256(content).hexdigest(), path.name, about)


def _numbers(path: Path, name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "fiu":
        raise Mistake(f"{path}: {name} holds {array.dtype}, not real numbers.")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))


def _count(path: Path, name: str, array: np.ndarray) -> int:
    n = float(array.reshape(-1)[0]) if array.size == 1 and array.dtype.kind in "iuf" else 0.0
    if not (n.is_integer() and n >= 2):
        raise Mistake(f"{path}: {name} says how many images there were, and is {str(array.tolist())[:80]}.")
    return int(n)
