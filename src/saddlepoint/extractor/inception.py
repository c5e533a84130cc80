"""Inception v3, with the weights of 2015-12-05 as torch-fidelity converted them: where they are, and how they come."""

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
LARGEST = 2**28  # bytes of a download: the file has 95,628,359
SIDE = 299  # pixels of the images that the network sees
INSTEAD = "Or measure with another extractor: evaluation.extractor=trained, where the data has classes."


class Inception(Extractor):
    """Inception v3 as in torch-fidelity: pool3 features and logits without bias; images resized as TensorFlow 1 did.

    `weights` is a file of them; None: what is present, else downloaded into `cache`.  Of `data` that it does not take
    it raises Mistake before that.
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
        state, self.sha256 = load_inception_weights(weights, cache, log)
        self.network = inception_network(state)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Features:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)  # grey: three equal channels
        return Features(*self.network(x))


def weights_url() -> str:
    """Where torch-fidelity publishes them."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return URL_INCEPTION_V3


def find_weights(cache: Path | None) -> Path | None:
    """The file, in our cache or where torch.hub keeps it, or None."""
    name = weights_url().rsplit("/", 1)[1]
    folders = [] if cache is None else [cache / "inception"]
    return next((f / name for f in [*folders, Path(torch.hub.get_dir()) / "checkpoints"] if (f / name).is_file()), None)


def load_inception_weights(
    path: Path | str | None, cache: Path | None, log: Log = logger.warning
) -> tuple[dict[str, Tensor], str]:
    """The state dict and the sha256 of its file: `path`, else what is present, else downloaded into the cache."""
    if path is not None:
        file = Path(path).expanduser()
        if not file.is_file():
            raise Mistake(f"there are no Inception weights at {file}. {_remedy(cache)}")
    else:
        file = find_weights(cache) or _downloaded(cache, log)
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    promised = SHA256 if file.name.endswith(f"-{SHA256[:8]}.pth") else None
    if promised and sha256 != promised:
        raise Mistake(
            f"{file} is not whole: its sha256 is {sha256[:16]}..., and that of these weights {promised[:16]}...\n"
            f"Remove it and run again, or put {weights_url()} there. {INSTEAD}"
        )
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):  # else it is of a torch before 1.6, which packs nothing
            archive.check_stored_zip(content)
        state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:
        what = f"{file} does not hold plain tensors, and code in it is not run ({first_line(error)})."
        raise Mistake(f"{what}\n{_remedy(cache)}") from error
    return state, sha256


def inception_network(state: Mapping[str, Tensor]) -> nn.Module:
    """torch-fidelity's network: of uint8 images [N, 3, H, W], features [N, 2048] and logits without bias [N, 1008]."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Network(FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
            # the constructor would unpickle a file without weights_only: it is given an empty one, and no say
            return super().load_state_dict(state_dict, *args, **kwargs) if state_dict else None

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with preserve_random_state():  # its layers are initialised first, then overwritten
        found = Network("inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=empty)  # pyright: ignore[reportArgumentType]
    try:
        found.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        what = f"these are not the weights of torch-fidelity's Inception ({reason})."
        raise Mistake(f"{what}\nGet {weights_url()}. {INSTEAD}") from error
    return found


def _downloaded(cache: Path | None, say: Log) -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints" if cache is None else cache / "inception"
    file = folder / weights_url().rsplit("/", 1)[1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            if not file.is_file():
                say(f"downloading Inception's weights (95 MB) from {weights_url()}")
                content = io.BytesIO()
                with urllib.request.urlopen(weights_url(), timeout=30) as response:
                    while content.tell() <= LARGEST and (block := response.read(1 << 20)):
                        content.write(block)
                if (sha256 := hashlib.sha256(content.getbuffer()).hexdigest()) != SHA256:
                    what = f"{weights_url()} gave something else than was published: its sha256 is {sha256}."
                    raise Mistake(f"{what} {_remedy(cache)}")
                atomic.write_atomic(file, content.getvalue())
    except (OSError, HTTPException) as error:  # no network, a broken connection, a disk that is full or not ours
        what = f"Inception's weights are not here, and cannot be downloaded ({error or type(error).__name__})."
        raise Mistake(f"{what} {_remedy(cache)}") from error
    return file


def _remedy(cache: Path | None) -> str:
    place = f", into {cache / 'inception'}" if cache is not None else ""
    return f"Fetch {weights_url()} elsewhere and bring it{place} or anywhere, with evaluation.weights=PATH.\n{INSTEAD}"
