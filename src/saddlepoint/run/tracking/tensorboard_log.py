"""TensorBoard beside the local record: losses, scores and the fixed-latent grids, by images."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

from saddlepoint.error import Mistake
from saddlepoint.run.folder import Run
from saddlepoint.run.journal import RunLogger

PACKAGES = ("tensorboard", "tensorboardX")  # either of which Lightning writes with
MISSING = "logger=tensorboard needs the package tensorboard: pip install 'saddlepoint[tensorboard]'"


class TensorBoardLog(RunLogger):
    """Lightning's TensorBoardLogger, into tensorboard/ of the run folder; `step` counts images.

    Where a run goes on, TensorBoard drops what an earlier part has shown of later than its checkpoint (purge_step).
    Raises Mistake where neither tensorboard nor tensorboardX is installed.
    """

    label = "tensorboard"

    def __init__(self) -> None:
        super().__init__()
        if not any(map(find_spec, PACKAGES)):
            raise Mistake(MISSING)
        self.whereabouts = ""
        self._board: TensorBoardLogger | None = None

    def start(self, run: Run, config: Mapping[str, Any], log: Callable[[str], None]) -> None:
        """Begin the board of this run, or go on with it."""
        reached = run.summary.get("images", 0)
        again = {"purge_step": reached + 1} if reached else {}
        self._board = TensorBoardLogger(run.folder, name="", version="tensorboard", default_hp_metric=False, **again)
        self.whereabouts = f"TensorBoard: tensorboard --logdir {run.folder / 'tensorboard'}"

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One row; what is no number is left out."""
        if self._board is not None:
            numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
            self._board.log_metrics({key: float(value) for key, value in numbers.items()}, step)

    def log_image(self, key: str, path: Path, step: int, others: Mapping[str, Path] | None = None) -> None:
        """A picture from disk, and others `beside` it."""
        from PIL import Image
        from torchvision.transforms.functional import pil_to_tensor

        if self._board is None:
            return
        for name, picture in {key: path, **(others or {})}.items():
            with Image.open(picture) as image:
                self._board.experiment.add_image(name, pil_to_tensor(image.convert("RGB")), step)

    def close(self, summary: Mapping[str, Any], checkpoint: Path | None, failed: bool) -> None:
        """Write what is left."""
        if self._board is not None:
            self._board.experiment.close()
