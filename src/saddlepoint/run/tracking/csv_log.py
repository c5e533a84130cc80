"""metrics.csv: the events of a run as a table, a column per key, for spreadsheets and scripts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger

from saddlepoint.run.folder import Run, unwritable_error
from saddlepoint.run.journal import RunLogger


class CsvLog(RunLogger):
    """Lightning's CSVLogger, into csv/metrics.csv of the run folder; `step` counts images.

    Where a run goes on, the file is written anew from metrics.jsonl, so that it holds every event once.
    """

    label = "csv"

    def __init__(self) -> None:
        super().__init__()
        self.path: Path | None = None  # of the table, once it has begun
        self._csv: CSVLogger | None = None

    def start(self, run: Run, config: Mapping[str, Any], log: Callable[[str], None]) -> None:
        """Begin the table of this run with what its metrics.jsonl holds already."""
        self._csv = CSVLogger(run.folder, name="", version="csv", flush_logs_every_n_steps=1)
        self.path = run.folder / "csv" / "metrics.csv"
        self.path.unlink(missing_ok=True)
        for row in run.rows():
            self.log_metrics(
                {key: value for key, value in row.items() if key not in ("images", "seconds")}, row["images"]
            )

    @property
    def whereabouts(self) -> str:
        """One line: where the table is."""
        there = self.path is not None and self.path.exists()
        return f"CSV: {self.path}" if there else "CSV: no event was logged, so there is no table"

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One row.  Raises Mistake where it cannot be written."""
        if self._csv is None or self.path is None:
            return
        try:
            self._csv.log_metrics(dict(metrics), step)
            self._csv.save()
        except OSError as error:
            raise unwritable_error(self.path, error) from None
