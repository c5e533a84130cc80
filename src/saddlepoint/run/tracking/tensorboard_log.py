"""The logger for TensorBoard: losses, scores and grids of fixed latents, by images."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

from saddlepoint.error import Mistake
from saddlepoint.run.folder import Run
from saddlepoint.run.journal import RunLogger

PACKAGES = ("tensorboard", "tensorboardX")  # Lightning needs one of them
MISSING = "logger=tensorboard needs the package tensorboard: pip install 'saddlepoint[tensorboard]'"


class TensorBoardLog(RunLogger):
    """Lightning's TensorBoardLogger, which writes tensorboard/ of the run folder; `step` is the number of images.

    When a run resumes, TensorBoard drops the events after the checkpoint (purge_step).
    Raises Mistake if neither tensorboard nor tensorboardX is installed.
    """

    label = "tensorboard"

    def __init__(self) -> None:
        super().__init__()
        if not any(map(find_spec, PACKAGES)):
            raise Mistake(MISSING)
        self.whereabouts = ""
        self._board: TensorBoardLogger | None = None

    def start(self, run: Run, config: Mapping[str, Any], log: Callable[[str], None]) -> None:
        """Start the event file of this run, or continue it."""
        reached = run.summary.get("images", 0)
        purge = {"purge_step": reached + 1} if reached else {}
        self._board = TensorBoardLogger(run.folder, name="", version="tensorboard", default_hp_metric=False, **purge)
        self.whereabouts = f"TensorBoard: tensorboard --logdir {run.folder / 'tensorboard'}"

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log one row; values that are not numbers are left out."""
        if self._board is not None:
            numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
            self._board.log_metrics({key: float(value) for key, value in numbers.items()}, step)

    def log_image(self, key: str, path: Path, step: int, others: Mapping[str, Path] | None = None) -> None:
        """Log the image file `path` as `key`, and `others` by their keys."""
        from PIL import Image
        from torchvision.transforms.functional import pil_to_tensor

        if self._board is None:
            return
        for name, picture in {key: path, **(others or {})}.items():
            with Image.open(picture) as image:
                self._board.experiment.add_image(name, pil_to_tensor(image.convert("RGB")), step)

    def log_sound(self, key: str, path: Path, step: int) -> None:
        """Log the first channel of the wav file `path`, 16-bit PCM or 32-bit float, as `key`."""
        import torch
        from scipy.io import wavfile

        if self._board is None:
            return
        rate, samples = wavfile.read(path)
        mono = samples if samples.ndim == 1 else samples[:, 0]
        amplitude = mono / 32768 if mono.dtype.kind == "i" else mono
        self._board.experiment.add_audio(key, torch.from_numpy(amplitude)[None].float(), step, rate)

    def close(self, summary: Mapping[str, Any], checkpoint: Path | None, failed: bool) -> None:
        """Write all pending events."""
        if self._board is not None:
            self._board.experiment.close()
