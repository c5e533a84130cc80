"""Reference statistics from an .npz file: mean and covariance of the features of some reals, your own or published.

    mu [d], sigma [d, d]; n or num_images, optional    (the format of TTUR, pytorch-fid and clean-fid)

Only Frechet distances can use them: two moments are not enough for other metrics.  A file may describe its extractor,
as JSON under `saddlepoint`; another extractor is then an error.  Otherwise only the number of features is checked.
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

NUMBER = ("n", "num_images")  # names under which a file may store the number of images
METADATA_KEY = "saddlepoint"  # name under which a file may store extractor, extractor_sha256 and resizer
UNKNOWN_COUNT = 10**9  # number of reals if the file does not store it: large enough for every check
ASYMMETRY = 1e-5  # allowed asymmetry, relative to the largest entry: more than float32 loses


@dataclass(frozen=True)
class ReferenceStatistics:
    """Mean and covariance of reals, used in place of a split: with a name, a sha256 and a length (0 if unknown)."""

    mu: Tensor  # [d], float64
    sigma: Tensor  # [d, d], float64
    n: int | None = None
    sha256: str = ""  # of the file
    file: str = ""  # name of the file, for messages
    metadata: Mapping[str, Any] = field(default_factory=dict)  # stored under METADATA_KEY
    name: str = "statistics"

    def __len__(self) -> int:
        return self.n or 0

    def check_extractor(self, extractor: Extractor) -> None:
        """Raise Mistake if the statistics are not of this extractor's features."""
        if (dim := len(self.mu)) != extractor.dim:
            raise Mistake(
                f"{self.file} has {dim} features, and the extractor {extractor.name} has {extractor.dim}.\n"
                "Choose the extractor that the statistics were made with: evaluation.extractor=inception for 2048."
            )
        fields = {"extractor": extractor.name, "extractor_sha256": extractor.sha256, "resizer": extractor.resizer}
        for key, value in fields.items():
            if (stored := self.metadata.get(key, value)) != value:
                raise Mistake(
                    f"{self.file} was made with another extractor: its {key} is {stored}, here it is {value}."
                )

    def why_not(self, metric: Metric) -> str | None:
        """Return why the metric cannot be computed from two moments, as text, or None if it can."""
        # a metric with a `setup` reads the data set, and there is none
        needs_no_data = not metric.needs_reals and not metric.needs_labels and type(metric).setup is Metric.setup
        if needs_no_data or isinstance(metric, FrechetDistance):
            return None
        return f"it needs the reals, and {self.file} has only their mean and covariance"

    def set_reference_of(self, metric: Metric) -> None:
        """Set these statistics as the reference of the metric."""
        metric.set_reference({"mu": self.mu, "sigma": self.sigma} if isinstance(metric, FrechetDistance) else None)


def load_reference_statistics(path: Path | str) -> ReferenceStatistics:
    """Load statistics from an .npz.  Raises Mistake if it is unreadable, or holds no valid mean and covariance."""
    path = Path(path).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror}. Reference statistics are an .npz file.") from None
    try:
        # guided-diffusion's files also contain 3 GB of images
        arrays = archive.load_arrays(content, ("mu", "sigma", METADATA_KEY, *NUMBER))
    except (ValueError, OSError, EOFError, KeyError, BadZipFile, zlib.error) as error:
        why = "its content is pickled, which can run any code" if "pickle" in str(error) else str(error).splitlines()[0]
        raise Mistake(
            f"{path} cannot be read as .npz: {why}. Write it again with numpy.savez(file, mu=mu, sigma=sigma)."
        ) from None
    if missing := [name for name in ("mu", "sigma") if name not in arrays]:
        names = ", ".join(sorted(arrays)) or "nothing"
        raise Mistake(
            f"{path} has no {missing[0]}: it contains {names}. Reference statistics are mu [d] and sigma [d, d]."
        )
    mu, sigma = _float_tensor(path, "mu", arrays["mu"]), _float_tensor(path, "sigma", arrays["sigma"])
    if mu.dim() != 1 or sigma.shape != (len(mu), len(mu)) or not len(mu):
        raise Mistake(
            f"{path}: mu has shape {list(mu.shape)} and sigma {list(sigma.shape)}; they must be [d] and [d, d]."
        )
    for name, value in (("mu", mu), ("sigma", sigma)):
        if not bool(value.isfinite().all()):
            raise Mistake(f"{path}: some values of {name} are nan or infinite, so there is no distance to it.")
    if (sigma - sigma.T).abs().max() > ASYMMETRY * sigma.abs().max():
        raise Mistake(f"{path}: sigma is not symmetric, so it is not a covariance.")
    if bool((sigma.diagonal() < 0).any()):
        raise Mistake(f"{path}: sigma has negative variances on its diagonal, so it is not a covariance.")
    n = next((_sample_count(path, name, arrays[name]) for name in NUMBER if name in arrays), None)
    try:
        metadata = dict(json.loads(str(arrays[METADATA_KEY]))) if METADATA_KEY in arrays else {}
    except ValueError:
        raise Mistake(f"{path}: the JSON under {METADATA_KEY} cannot be read. Make the file again.") from None
    return ReferenceStatistics(mu, sigma, n, hashlib.sha256(content).hexdigest(), path.name, metadata)


def _float_tensor(path: Path, name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "fiu":
        raise Mistake(f"{path}: {name} has dtype {array.dtype}, which is not a real number type.")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))


def _sample_count(path: Path, name: str, array: np.ndarray) -> int:
    n = float(array.reshape(-1)[0]) if array.size == 1 and array.dtype.kind in "iuf" else 0.0
    if not (n.is_integer() and n >= 2):
        raise Mistake(f"{path}: {name} must be the number of images, and is {str(array.tolist())[:80]}.")
    return int(n)
