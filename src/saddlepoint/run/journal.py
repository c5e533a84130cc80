"""The logger of metrics.jsonl: one object per event, {"images", "rounds", "seconds", key: value, ...}, in order."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from saddlepoint.run.folder import Run


class RunLogger(Logger):
    """Base class of the loggers of a run, named `label`.  Hyperparameters are not logged: config.yaml has them."""

    label = "log"

    @property
    def name(self) -> str:
        return self.label

    @property
    def version(self) -> str | None:
        return None

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def close(self, summary: Mapping[str, Any], checkpoint: Path | None, failed: bool) -> None:
        """Finish logging, after the last row of the run."""


class RunJournal(RunLogger):
    """Writes what callbacks log to metrics.jsonl; in a resumed run `seconds` continue from the earlier part."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self._earlier = max((row.get("seconds", 0.0) for row in run.rows()), default=0.0)
        self._start = time.perf_counter()

    @property
    def name(self) -> str:
        return self.run.folder.parent.name

    @property
    def version(self) -> str:
        return self.run.folder.name

    @property
    def seconds(self) -> float:
        """Wall time of this run so far, over all its starts."""
        return self._earlier + time.perf_counter() - self._start

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append one row; `step` is the number of images."""
        self.run.append("metrics.jsonl", {"images": step, "seconds": round(self.seconds, 3), **metrics})
