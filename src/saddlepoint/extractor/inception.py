"""Inception v3 as an extractor, with the weights of 2015-12-05 as converted by torch-fidelity, and their download."""

import hashlib
import io
import urllib.request
import zipfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn

from saddlepoint.error import Mistake, first_line
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Extractor, Features, check_measurable
from saddlepoint.modality import modality_of
from saddlepoint.run.storage import archive, atomic
from saddlepoint.run.storage.cache import Log, logger
from saddlepoint.stream import preserve_random_state

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # of the published file
LARGEST = 2**28  # maximum bytes of a download; the file has 95,628,359
SIDE = 299  # height and width of the network's input, in pixels
INSTEAD = "Or use another extractor: evaluation.extractor=trained, if the data has classes."


class Inception(Extractor):
    """Inception v3 as in torch-fidelity: pool3 features and logits without bias, with the resizing of TensorFlow 1.

    `weights` is the path of the file; None: an existing file, else one downloaded into `cache`.  Raises Mistake before
    that if the network cannot process `data`.
    """

    name = "inception"
    dim, classes = 2048, 1008
    resizer = "tensorflow1-bilinear-299"
    resizes_to = (SIDE, SIDE)
    bits = (8,)

    def __init__(
        self,
        weights: Path | str | None = None,
        data: DataLike | None = None,
        cache: Path | None = None,
        log: Log = logger.warning,
    ) -> None:
        super().__init__()
        if data is not None:
            check_measurable(Inception, tuple(data.shape), modality_of(data))
        state, self.sha256 = load_or_download_inception_weights(weights, cache, log)
        self.network = inception_network(state)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Features:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)  # grey: three equal channels
        return Features(*self.network(x))


def weights_url() -> str:
    """Return the URL of the weights that torch-fidelity publishes."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return URL_INCEPTION_V3


def find_weights(cache: Path | None) -> Path | None:
    """Return the path of the weights in `cache` or in the folder of torch.hub, or None."""
    name = weights_url().rsplit("/", 1)[1]
    folders = [] if cache is None else [cache / "inception"]
    return next((f / name for f in [*folders, Path(torch.hub.get_dir()) / "checkpoints"] if (f / name).is_file()), None)


def load_or_download_inception_weights(
    path: Path | str | None, cache: Path | None, log: Log = logger.warning
) -> tuple[dict[str, Tensor], str]:
    """Return the state dict and sha256 of a file: `path`, else an existing one, else one downloaded into `cache`."""
    if path is not None:
        file = Path(path).expanduser()
        if not file.is_file():
            raise Mistake(f"there are no Inception weights at {file}. {_how_to_fetch(cache)}")
    else:
        file = find_weights(cache) or _download_weights(cache, log)
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    expected = SHA256 if file.name.endswith(f"-{SHA256[:8]}.pth") else None
    if expected and sha256 != expected:
        raise Mistake(
            f"{file} is incomplete: its sha256 is {sha256[:16]}..., but that of the weights is {expected[:16]}...\n"
            f"Remove it and run again, or put {weights_url()} there. {INSTEAD}"
        )
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):  # else saved by torch before 1.6, without compression
            archive.check_stored_zip(content)
        state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:
        problem = f"{file} does not contain plain tensors, and code in it is not run ({first_line(error)})."
        raise Mistake(f"{problem}\n{_how_to_fetch(cache)}") from error
    return state, sha256


def inception_network(state: Mapping[str, Tensor]) -> nn.Module:
    """Return torch-fidelity's network: uint8 images [N, 3, H, W] -> features [N, 2048], unbiased logits [N, 1008]."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Network(FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
            # the constructor unpickles a file without weights_only, so it gets an empty one, which is ignored here
            return super().load_state_dict(state_dict, *args, **kwargs) if state_dict else None

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with preserve_random_state():  # the initial weights are drawn, then overwritten
        module = Network("inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=empty)  # pyright: ignore[reportArgumentType]
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        problem = f"these are not the weights of torch-fidelity's Inception ({reason})."
        raise Mistake(f"{problem}\nGet {weights_url()}. {INSTEAD}") from error
    return module


def _download_weights(cache: Path | None, log: Log) -> Path:
    """Download the weights into `cache`, else into the folder of torch.hub, and return their path."""
    folder = Path(torch.hub.get_dir()) / "checkpoints" if cache is None else cache / "inception"
    file = folder / weights_url().rsplit("/", 1)[1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            if not file.is_file():
                log(f"downloading the weights of Inception (95 MB) from {weights_url()}")
                content = io.BytesIO()
                with urllib.request.urlopen(weights_url(), timeout=30) as response:
                    while content.tell() <= LARGEST and (block := response.read(1 << 20)):
                        content.write(block)
                if (sha256 := hashlib.sha256(content.getbuffer()).hexdigest()) != SHA256:
                    problem = f"{weights_url()} returned another file than the published one: its sha256 is {sha256}."
                    raise Mistake(f"{problem} {_how_to_fetch(cache)}")
                atomic.write_atomic(file, content.getvalue())
    except (OSError, HTTPException) as error:  # no network, a lost connection, a full or read-only disk
        problem = f"Inception's weights are missing and cannot be downloaded ({error or type(error).__name__})."
        raise Mistake(f"{problem} {_how_to_fetch(cache)}") from error
    return file


def _how_to_fetch(cache: Path | None) -> str:
    folder = f" to {cache / 'inception'}" if cache is not None else ""
    return (
        f"Fetch {weights_url()} on another machine and copy it{folder}, or anywhere with evaluation.weights=PATH.\n"
        f"{INSTEAD}"
    )
